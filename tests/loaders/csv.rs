//! CSV against pandas and scikit-learn.

use super::support::{Folder, damage, golden, refusal};
use gemmule::data::{Csv, CsvTable, Missing, NpyData, read_npy};
use gemmule::{BatchSource, Context, Error, TargetKind};
use std::fs;
use std::io::Cursor;

fn read(csv: &Csv, text: &str) -> Result<CsvTable, Error> {
    csv.read_from(Cursor::new(text))
}

/// The features of all samples, row by row.
fn features(table: &CsvTable) -> Vec<f64> {
    let all: Vec<_> = (0..table.dataset.len()).collect();
    let mut out = vec![0.0; all.len() * table.dataset.features()];
    table.dataset.gather_features(&Context::detect().unwrap(), &all, &mut out);
    out
}

fn classes(table: &CsvTable) -> Vec<i64> {
    (0..table.dataset.len()).map(|i| table.dataset.class(i).unwrap().into()).collect()
}

#[track_caller]
fn values(name: &str) -> Vec<f64> {
    match read_npy(golden(name)).unwrap().into_data() {
        NpyData::F64(values) => values,
        NpyData::I64(values) => values.into_iter().map(|value| value as f64).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_pandas_and_scikit_learn_read_it() {
    let base = Csv::new(golden("table.csv")).label("survived");
    for (rule, name) in [
        (Missing::Mean, "table_mean.npy"),
        (Missing::Median, "table_median.npy"),
        (Missing::MostFrequent, "table_most_frequent.npy"),
    ] {
        let csv =
            base.clone().missing(Missing::MostFrequent).missing_in("age", rule).missing_in("fare", rule);
        let table = csv.read_as::<f64>().unwrap();
        assert_eq!(table.features, ["age", "sex", "fare", "cabin", "port"]);
        assert_eq!(
            (&table.targets[..], &table.classes[..]),
            (&["survived".to_owned()][..], &["no".to_owned(), "yes".to_owned()][..])
        );
        for (got, expected) in features(&table).iter().zip(values(name)) {
            assert!((got - expected).abs() <= 1e-15 * expected.abs(), "{name}: {got} {expected}");
        }
        assert_eq!(features(&table).len(), values(name).len());
        let expected: Vec<_> = values("table_labels.npy").iter().map(|&label| label as i64).collect();
        assert_eq!(classes(&table), expected);
        for (feature, name) in [(1, "sex"), (3, "cabin"), (4, "port")] {
            let expected = fs::read_to_string(golden(&format!("table_{name}.txt"))).unwrap();
            assert_eq!(table.categories[feature].as_ref().unwrap().join("\0"), expected);
        }
        assert!(table.categories[0].is_none() && table.fills.iter().all(Option::is_some));
        // f32 is f64, rounded.
        let single: Vec<_> = features(&csv.read().unwrap());
        let rounded: Vec<_> = features(&table).iter().map(|&value| f64::from(value as f32)).collect();
        assert_eq!(single, rounded);
    }
    let table = base.features(["age", "fare"]).missing(Missing::DropRow).read_as::<f64>().unwrap();
    assert_eq!(features(&table), values("table_dropped.npy"));
    assert_eq!((table.dropped, table.dataset.len()), (3, 7));
}

#[test]
fn columns_by_name_and_by_position() {
    let text = "a,b,c,d\n1,2,3,4\n5,6,7,8\n";
    let get = |csv: Csv| {
        let table = read(&csv, text).unwrap();
        (features(&table), table)
    };
    let (x, table) = get(Csv::new(""));
    assert_eq!((x, table.dataset.target_kind()), ((1..=8).map(f64::from).collect(), None));
    let (x, table) = get(Csv::new("").label(-1));
    assert_eq!(
        (x, classes(&table), table.classes),
        (vec![1.0, 2.0, 3.0, 5.0, 6.0, 7.0], vec![0, 1], vec!["4".to_owned(), "8".to_owned()])
    );
    let (x, table) = get(Csv::new("").targets(["d", "b"]));
    assert_eq!((x, table.targets), (vec![1.0, 3.0, 5.0, 7.0], vec!["d".to_owned(), "b".to_owned()]));
    assert_eq!(table.dataset.target_kind(), Some(TargetKind::Values(2)));
    let mut y = [0.0_f64; 4];
    table.dataset.gather_values(&Context::detect().unwrap(), &[0, 1], &mut y);
    assert_eq!(y, [4.0, 2.0, 8.0, 6.0]);
    let (x, table) = get(Csv::new("").features(["c", "a"]));
    assert_eq!((x, table.features), (vec![3.0, 1.0, 7.0, 5.0], vec!["c".to_owned(), "a".to_owned()]));
    let (x, _) = get(Csv::new("").ignore([0_usize, 1]));
    assert_eq!(x, [3.0, 4.0, 7.0, 8.0]);
    let (x, table) = get(Csv::new("").categorical(["a"]).features(["a"]));
    assert_eq!(
        (x, table.categories[0].clone().unwrap()),
        (vec![0.0, 1.0], vec!["1".to_owned(), "5".to_owned()])
    );
    let table = read(&Csv::new("").header(false), "1,2\n3,4").unwrap();
    assert_eq!((table.dataset.len(), &table.features[..]), (2, &["0".to_owned(), "1".to_owned()][..]));
    for (csv, part) in [
        (
            Csv::new("").label("species"),
            "the label: expected one of the 4 columns (\"a\", \"b\", \"c\", \"d\"), got \"species\"",
        ),
        (Csv::new("").label(4), "the label: expected one of the 4 columns"),
        (Csv::new("").label(-5), "got -5"),
        (Csv::new("").targets(["x"]), "a target"),
        (Csv::new("").features(["x"]), "a feature"),
        (Csv::new("").ignore(["x"]), "the column to ignore"),
        (Csv::new("").missing_in("x", Missing::Mean), "the column of a rule for missing values"),
        (Csv::new("").label("a").features(["a"]), "expected one use for each, got several for \"a\""),
        (Csv::new("").ignore(["a"]).features(["a"]), "several for \"a\""),
        (Csv::new("").label("a").targets(["b"]), "label and targets: expected one of them, got both"),
        (Csv::new("").ignore(["a", "b", "c", "d"]), "at least 1 column of features"),
        (Csv::new("").delimiter(b'"'), "delimiter, quote, comment"),
        (Csv::new("").missing(Missing::Constant(f64::NAN)), "a finite number, got NaN"),
    ] {
        let error = read(&csv, text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = read(&Csv::new("").label("a"), "a,a\n1,2").unwrap_err().to_string();
    assert!(error.contains("got \"a\", twice"), "{error}");
}

#[test]
fn forms() {
    let expected = [1.0, 2.5, -3.0, 4e-3];
    for (csv, text) in [
        (Csv::new(""), "a,b\r\n1,2.5\r\n-3,4e-3\r\n"),
        (Csv::new(""), "\u{feff}a,b\n1,2.5\n\n-3,.004"),
        (Csv::new(""), "a,b\n\"1\" , 2.5\n\"-3\",\t4E-03 \n\n\n"),
        (Csv::new("").delimiter(b';'), "a;b\n1;+2.5\n-3;0.004\n"),
        (Csv::new("").delimiter(b'\t').header(false), "1\t2.5\n-3.\t0.004\n"),
        (Csv::new("").comment(Some(b'#')), "# by hand\na,b\n1,2.5\n#0,0\n-3,0.004\n"),
        (Csv::new("").quote(Some(b'\'')), "a,'b'\n1,'2.5'\n-3,'0.004'\n"),
    ] {
        let table = read(&csv, text).unwrap();
        let rounded: Vec<_> = expected.iter().map(|&value| f64::from(value as f32)).collect();
        assert_eq!(features(&table), rounded, "{text}");
    }
    let table = read(&Csv::new("").label("y"), "y,x\n\"a,\"\"b\"\"\n\",1\n é ,2\n").unwrap();
    assert_eq!(table.classes, ["a,\"b\"", "é"]);
    let table = read(&Csv::new("").quote(None).label("y"), "y,x\n\"a\",1\n").unwrap();
    assert_eq!(table.classes, ["\"a\""]);
    // Rows longer than what is read at once, more of them than one piece holds.
    let row: Vec<String> = (0..20_000).map(|i| i.to_string()).collect();
    let text = format!("{0}\n{0}\n{0}\n", row.join(","));
    let table = read(&Csv::new("").header(false), &text).unwrap();
    assert_eq!(table.dataset.len(), 3);
    assert!(features(&table).iter().enumerate().all(|(i, &value)| value == (i % 20_000) as f64));
}

#[cfg(feature = "gzip")]
#[test]
fn compressed_files() {
    use std::io::Write;
    let folder = Folder::new("csv-gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(b"a,y\n1,x\n2,y\n").unwrap();
    let whole = encoder.finish().unwrap();
    let table = Csv::new(folder.write("table.csv.gz", &whole)).label("y").read().unwrap();
    assert_eq!((features(&table), classes(&table)), (vec![1.0, 2.0], vec![0, 1]));
    let path = folder.write("short", &whole[..whole.len() - 4]);
    let text = refusal(&path, Csv::new(&path).read());
    assert!(text.contains("the compressed data: expected a whole and undamaged stream"), "{text}");
}

#[test]
fn labels_are_sorted_as_numbers_or_as_text() {
    let labels = |text: &str| {
        let table = read(&Csv::new("").header(false).label(0), text).unwrap();
        (classes(&table), table.classes.join(" "))
    };
    assert_eq!(labels("10,0\n9,0\n10,0\n-1,0\n"), (vec![2, 1, 2, 0], "-1 9 10".to_owned()));
    assert_eq!(labels("10,0\n9,0\nx,0\n"), (vec![0, 1, 2], "10 9 x".to_owned()));
    let csv = Csv::new("").header(false).label(0);
    let table = read(&csv.clone().classes(["9", "10", "11"]), "10,0\n9,0\n").unwrap();
    assert_eq!((classes(&table), table.dataset.target_kind()), (vec![1, 0], Some(TargetKind::Classes(3))));
    let error = read(&csv.clone().classes(["9"]), "9,0\n10,0\n").unwrap_err().to_string();
    assert!(error.contains("line 2, column \"0\": expected one of \"9\", got \"10\""), "{error}");
    assert!(matches!(read(&csv.classes(["9", "9"]), "9,0"), Err(Error::Argument { .. })));
}

#[test]
fn what_was_fitted_on_one_table_holds_for_another() {
    let csv = Csv::new("").label("y").missing(Missing::Mean).missing_in("port", Missing::MostFrequent);
    let train = read(&csv, "age,port,y\n10,S,no\n,C,yes\n20,S,maybe\n").unwrap();
    assert_eq!(train.fills, [Some(15.0), Some(1.0)]);
    // Other columns, another order, fewer classes; no label at all.
    let test = read(&csv.clone().like(&train), "id,port,y,age\n1,,yes,\n2,C,no,30\n").unwrap();
    assert_eq!((features(&test), classes(&test)), (vec![15.0, 1.0, 30.0, 0.0], vec![2, 1]));
    assert_eq!(
        (&test.classes, &test.categories, &test.fills),
        (&train.classes, &train.categories, &train.fills)
    );
    let plain = Csv::new("").missing(Missing::Mean).missing_in("port", Missing::MostFrequent).like(&train);
    assert_eq!(features(&read(&plain, "port,age\nS,1\n").unwrap()), [1.0, 1.0]);
    let error = read(&plain, "port,age\nS,1\nQ,1\n").unwrap_err().to_string();
    assert!(error.contains("line 3, column \"port\": expected one of \"C\", \"S\", got \"Q\""), "{error}");
}

#[test]
fn refusals_name_line_and_column() {
    for (csv, text, part) in [
        (Csv::new(""), "", "the first line: expected the names of the columns, got none"),
        (Csv::new(""), "a,b\n", "expected at least 1 row, got none"),
        (Csv::new("").header(false), "", "expected at least 1 row, got none"),
        (Csv::new(""), "a,b\n1,2\n3\n", "line 3: expected 2 fields, as in the first line, got 1"),
        (Csv::new(""), "a,b\r\n1,2\r\n3,4,5\r\n", "line 3: expected 2 fields, as in the first line, got 3"),
        (
            Csv::new(""),
            "a,b\n1,\n",
            "line 2, column \"b\": expected a value (a rule for missing ones was not chosen)",
        ),
        (
            Csv::new(""),
            "a,b\n1,2\n\n3,four\n",
            "line 4, column \"b\": expected a number, as the column's first value is one",
        ),
        (Csv::new(""), "a\n1\n1e39\n", "line 3, column \"a\": expected a finite number of f32, got \"1e39\""),
        (Csv::new(""), "a\n1\n-inf\n", "expected a finite number of f32, got \"-inf\""),
        (Csv::new(""), "a,b\n\"x\ny\",1\nx,\n", "line 4, column \"b\""),
        (Csv::new(""), "a,b\n1,\"2\n3,4\n", "line 4: expected a quote that closes, got the end of the file"),
        (Csv::new(""), "a,b\n1,\"2", "expected a quote that closes"),
        (
            Csv::new("").label("b").missing(Missing::Mean),
            "a,b\n1,\n",
            "a label (only DropRow applies to labels)",
        ),
        (Csv::new("").targets(["b"]).missing(Missing::Mean), "a,b\n1,\n", "a target (only DropRow"),
        (Csv::new("").targets(["b"]), "a,b\n1,x\n", "line 2, column \"b\": expected a number"),
        (
            Csv::new("").missing(Missing::Mean),
            "a\nx\nNA\n",
            "a value (DropRow or MostFrequent apply to text)",
        ),
        (Csv::new("").missing(Missing::Constant(0.0)), "a\nx\nNA\n", "a value (DropRow or MostFrequent"),
        (
            Csv::new("").missing(Missing::Mean),
            "a,b\n1,NA\n",
            "column \"b\": expected a value in at least one row",
        ),
        (Csv::new("").missing(Missing::DropRow), "a,b\n1,NA\n", "got none, as 1 have missing values"),
    ] {
        let error = read(&csv, text).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("(reader)"), "{error}");
    }
    let error = Csv::new("").read_from(Cursor::new(b"a\n\xff\n")).unwrap_err().to_string();
    assert!(error.contains("line 2, column 0: expected text in UTF-8, got byte ff"), "{error}");
    let error = Csv::new("missing.csv").read().unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("missing.csv")), "{error}");
}

#[test]
fn missing_values() {
    for marker in ["", "NA", "nan", "NULL", "<NA>", "#N/A", "None", "\"\"", "  "] {
        let table =
            read(&Csv::new("").missing(Missing::Constant(-1.0)), &format!("a,b\n1,2\n{marker},4\n")).unwrap();
        assert_eq!(features(&table), [1.0, 2.0, -1.0, 4.0], "{marker:?}");
    }
    let csv = Csv::new("").na_values(["?", "-9"]).missing(Missing::Median);
    let table = read(&csv, "a\n1\n?\n7\n-9\n3\n5\n").unwrap();
    assert_eq!((features(&table), &table.fills[..]), (vec![1.0, 4.0, 7.0, 4.0, 3.0, 5.0], &[Some(4.0)][..]));
    // The smallest of the most frequent; for text too.
    let table =
        read(&Csv::new("").missing(Missing::MostFrequent), "a,b\n2,y\n1,x\nNA,NA\n2,x\n1,y\n").unwrap();
    assert_eq!(table.fills, [Some(1.0), Some(0.0)]);
    // A dropped row teaches nothing.
    let csv = Csv::new("").label("y").missing(Missing::DropRow);
    let table = read(&csv, "a,b,y\nx,1,p\nz,,q\n,3,r\nx,4,NA\n").unwrap();
    assert_eq!(
        (table.dropped, table.classes, table.categories[0].clone().unwrap()),
        (3, vec!["p".to_owned()], vec!["x".to_owned()])
    );
}

/// A CSV file has no checksum: a flip gives an error or as many rows at most, a prefix no more rows than the whole.
#[test]
fn every_prefix_and_every_flipped_bit() {
    let whole = fs::read(golden("table.csv")).unwrap();
    let csv = Csv::new("").label(-1).missing(Missing::MostFrequent);
    let read = |bytes: &[u8]| csv.read_from(Cursor::new(bytes));
    let rows = read(&whole).unwrap().dataset.len();
    let passed = damage(
        &whole,
        read,
        |len, table| assert!(table.dataset.len() <= rows, "{len}"),
        |bit, table| assert!(table.dataset.len() <= rows + 1, "{bit}"),
    );
    assert!(passed > whole.len());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once() {
    let folder = Folder::new("csv-pipe");
    let path = folder.0.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    for (limit, good) in [(100, true), (5, false)] {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(fs::write(&path, "a,b\n1,2\n")));
            assert_eq!(Csv::new(&path).limit(limit).read().is_ok(), good);
        });
    }
}
