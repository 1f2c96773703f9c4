"""Files that NumPy and Pillow wrote, and what pandas, scikit-learn and Pillow read: beside it in loaders/.

    python tests/golden/loaders.py        (2 seconds; NumPy 2.4.6, pandas 3.1.1, scikit-learn, Pillow 13.0.0)

tests/loaders.rs compares; the values of the arrays are formulas that stand there too.
"""

import io
import pathlib

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import LabelEncoder, OrdinalEncoder

here = pathlib.Path(__file__).parent / "loaders"
here.mkdir(exist_ok=True)

# npy: element i of 2 x 3 x 4 is 5 i - 7 (integers; modulo 256 for bytes) or i / 8 - 1 (floats, exact in both types).
i = np.arange(24).reshape(2, 3, 4)
arrays = {
    "u8": (i * 5 - 7).astype(np.uint8),
    "i32": (i * 5 - 7).astype("<i4"),
    "i64": (i * 5 - 7).astype("<i8"),
    "f32": (i / 8 - 1).astype("<f4"),
    "f64": (i / 8 - 1).astype("<f8"),
}
for name, array in arrays.items():
    np.save(here / f"{name}.npy", array)
    np.save(here / f"{name}_fortran.npy", np.asfortranarray(array))
    if name != "u8":
        np.save(here / f"{name}_big.npy", array.astype(array.dtype.newbyteorder(">")))
for version in [(1, 0), (2, 0), (3, 0)]:
    with open(here / f"version{version[0]}.npy", "wb") as file:
        np.lib.format.write_array(file, arrays["f32"], version=version)
np.save(here / "scalar.npy", np.float64(2.5))
np.save(here / "empty.npy", np.zeros((0, 3), np.float32))
np.save(here / "vector.npy", np.arange(5, dtype=np.int64))
np.save(here / "fortran_big.npy", np.asfortranarray(arrays["f64"].astype(">f8")))
# What is refused.
np.save(here / "object.npy", np.array([{"a": 1}, None], dtype=object))
np.save(here / "structured.npy", np.zeros(2, dtype=[("x", "<f4"), ("y", "<i4")]))
np.save(here / "f16.npy", np.zeros(3, np.float16))
np.save(here / "bool.npy", np.zeros(3, bool))
np.save(here / "text.npy", np.array(["ab", "c"]))

np.savez(here / "stored.npz", **arrays)
np.savez_compressed(here / "deflated.npz", **{name: np.asfortranarray(a) for name, a in arrays.items()})
np.savez(here / "empty.npz")

# What this crate wrote (tests/loaders/npz.rs compares the first to the byte), read by the real NumPy.
for name in ["written.npz", "written_deflated.npz"]:
    with np.load(here / name) as file:
        assert file.files == list(arrays), file.files
        for key, array in arrays.items():
            assert file[key].dtype == array.dtype and np.array_equal(file[key], array), (name, key)
        assert file.zip.testzip() is None

# CSV: numbers, text, missing values, quotes, a delimiter and a line break inside quotes.
text = '''age,sex,fare,cabin,port,survived
22,male,7.25,,S,no
38,female,71.2833,C85,C,yes
,female,7.925,NA,S,yes
35,female,53.1,"C123, b",S,yes
35,male,8.05,,,no
n/a,male,8.4583,E46,Q,no
54,"ma""le",51.8625,E46,S,no
2,male,1e1,"a
b",S,no
27,female,,,S,yes
-1.5e-3,female,30.0708,C85,C,yes
'''
(here / "table.csv").write_text(text, newline="")
table = pd.read_csv(io.StringIO(text))
numbers = table[["age", "fare"]].to_numpy(np.float64)
codes = {}
for column in ["sex", "cabin", "port"]:
    there = table[column].dropna()
    encoder = OrdinalEncoder().fit(there.to_numpy(object).reshape(-1, 1))
    (here / f"table_{column}.txt").write_text("\0".join(encoder.categories_[0]))
    order = {name: code for code, name in enumerate(encoder.categories_[0])}
    codes[column] = table[column].map(order).to_numpy(np.float64)
columns = np.column_stack([numbers[:, 0], codes["sex"], numbers[:, 1], codes["cabin"], codes["port"]])
np.save(here / "table_labels.npy", LabelEncoder().fit_transform(table["survived"]).astype(np.int64))
for strategy in ["mean", "median", "most_frequent"]:
    filled = columns.copy()
    for column in range(5):
        kind = strategy if column in (0, 2) else "most_frequent"
        filled[:, [column]] = SimpleImputer(strategy=kind).fit_transform(columns[:, [column]])
    np.save(here / f"table_{strategy}.npy", filled)
np.save(here / "table_dropped.npy", numbers[table[["age", "fare"]].notna().all(axis=1).to_numpy()])

# Pictures. Smooth ones, as JPEG is for them.
folder = here / "folder"
for name in ["bird", "cat/more"]:
    (folder / name).mkdir(parents=True, exist_ok=True)
y, x = np.mgrid[0:12, 0:10]
red, green, blue = 20 * x + 3 * y, 255 - 9 * x - 8 * y, 128 + 60 * np.sin(x / 3.0) * np.cos(y / 4.0)
picture = Image.fromarray(np.stack([red, green, blue], axis=-1).clip(0, 255).astype(np.uint8))
files = {
    "bird/a.png": picture,
    "bird/b.png": picture.convert("L"),
    "bird/c.png": picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=16),
    "cat/a.png": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("RGBA"),
    "cat/more/b.png": picture.convert("L").convert("1"),
    "cat/more/c.JPG": picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
}
for name, image in files.items():
    options = {"format": "JPEG", "quality": 95, "subsampling": 0} if name.endswith("JPG") else {"format": "PNG"}
    image.save(folder / name, **options)
(folder / "cat" / "notes.txt").write_text("not a picture\n")
read = [Image.open(folder / name).convert("RGB") for name in sorted(files)]
np.save(here / "rgb.npy", np.stack([np.asarray(image) for image in read]))
np.save(here / "grey.npy", np.stack([np.asarray(image.convert("L")) for image in read]))
for name, (height, width) in {"smaller": (5, 7), "larger": (17, 20)}.items():
    resized = [np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) for image in read]
    np.save(here / f"{name}.npy", np.stack(resized))
small = picture.resize((8, 8))
small.save(here / "progressive.jpg", quality=80, progressive=True)
small.convert("L").save(here / "grey.jpg", quality=80)
small.save(here / "small.jpg", quality=80)
np.save(here / "small_jpg.npy", np.stack([np.asarray(Image.open(here / f"{n}.jpg").convert("RGB")) for n in ["progressive", "grey", "small"]]))
