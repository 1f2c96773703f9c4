//! Reads folders of pictures, one folder per class.

use super::dataset::Dataset;
use super::idx::DEFAULT_DECOMPRESSED_LIMIT;
use crate::error::{Error, Result};
use crate::file::read::{self, READER, Source, format_error};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Luma, Rgb};
use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

/// How deep folders are followed below that of a class: a link may lead in a circle.
const DEEPEST: usize = 32;

/// The most that a byte of a PNG grows to: deflate gives 1032, eight pixels each. JPEG stays below.
const GROWTH: u64 = 8 * 1032;

/// How many times a decoder and what follows it may hold a picture: measured 6 for progressive JPEG.
const DECODERS: u64 = 8;

/// Reads a folder of PNG and JPEG files in which each subfolder is a class, as torchvision's `ImageFolder`:
///
/// ```text
///   animals/cat/1.png   animals/cat/more/2.jpg   ->  class 0, "cat"
///   animals/dog/1.jpeg                           ->  class 1, "dog"
/// ```
///
/// The subfolders, sorted by name, are the classes; the pictures of each, sorted by path, are its samples. Files of other kinds are
/// left out, pictures that cannot be read (`bmp`, `gif`, `webp`, `tif`, `ppm`) are an error, and so is a class without pictures; names
/// that begin with a dot are left out.
///
/// Pictures are RGB, samples of shape `[height, width, 3]` (NHWC), or, after [`grey`](Self::grey), `[height, width]`; bytes
/// stay bytes. All have one size, or [`resize`](Self::resize) gives them one. Transparency is dropped, 16 bits become 8; the
/// orientation that a camera noted is not applied (as in torchvision).
///
/// **Memory.** All samples together take at most [`limit`](Self::limit) bytes, and while one file is read, up to as much again:
/// a picture in its file's size may have an eighth of the limit, as decoders hold it several times.
///
/// ```no_run
/// use gemmule::data::ImageFolder;
///
/// let train = ImageFolder::new("animals").resize(32, 32).read()?;
/// assert_eq!(train.classes, ["cat", "dog"]);
/// assert_eq!(train.dataset.feature_shape(), [32, 32, 3]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is read before `read`"]
pub struct ImageFolder {
    path: PathBuf,
    grey: bool,
    size: Option<(usize, usize)>,
    limit: u64,
}

/// What [`ImageFolder::read`] gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Images {
    /// The pictures, with the class of each.
    pub dataset: Dataset,
    /// The names of the classes 0, 1, ...
    pub classes: Vec<String>,
    /// The file of each sample.
    pub files: Vec<PathBuf>,
}

/// Files with their classes.
type Labelled = Vec<(u32, PathBuf)>;

impl ImageFolder {
    /// The folder whose subfolders are the classes; pictures are RGB and have to have one size.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), grey: false, size: None, limit: DEFAULT_DECOMPRESSED_LIMIT }
    }

    /// Pictures are grey: `(19595 R + 38470 G + 7471 B + 2^15) / 2^16`, the weights of ITU-R BT.601 as Pillow rounds them.
    pub fn grey(mut self) -> Self {
        self.grey = true;
        self
    }

    /// Pictures of another size are brought to this one with a triangle filter, which is bilinear and averages where it
    /// shrinks, as Pillow and torchvision do (their bytes may differ by 1). Proportions are not kept.
    pub fn resize(mut self, height: usize, width: usize) -> Self {
        self.size = Some((height, width));
        self
    }

    /// The most bytes that all samples may have together: 1 GiB unless this says otherwise.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads all pictures.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`], with the file's name, if one is no PNG or JPEG, is damaged, has another size
    /// than the first, or the limit is exceeded; [`Error::Data`] if there is no class or one without pictures;
    /// [`Error::Argument`] if the size is zero.
    pub fn read(&self) -> Result<Images> {
        let (classes, files) = self.files()?;
        let mut labels = Vec::new();
        let mut bytes = Vec::new();
        let mut first: Option<(usize, usize)> = self.size;
        for (at, (class, path)) in files.iter().enumerate() {
            let (file, size) = read::open(path)?;
            let contents = self.contents(path, file, size)?;
            let (height, width, pixels) = self.decode(path, &contents)?;
            drop(contents);
            let (rows, columns) = *first.get_or_insert((height, width));
            if (rows, columns) != (height, width) {
                let expected =
                    format!("{rows} x {columns}, as {} (or a size by `resize`)", files[0].1.display());
                return Err(format_error(
                    path,
                    "image",
                    "height x width",
                    expected,
                    format!("{height} x {width}"),
                ));
            }
            if at == 0 {
                let all = pixels.len().saturating_mul(files.len());
                if all as u64 > self.limit {
                    let expected = format!("at most {} bytes (the limit)", self.limit);
                    let got = format!("{} of {height} x {width}: {all} bytes", files.len());
                    return Err(format_error(&self.path, "images", "all pictures", expected, got));
                }
                read::reserve("ImageFolder::read", &mut bytes, all)?;
                read::reserve("ImageFolder::read", &mut labels, files.len())?;
            }
            bytes.extend_from_slice(&pixels);
            labels.push(*class);
        }
        let (height, width) = first.unwrap_or((0, 0));
        let shape = [files.len(), height, width, 3];
        let shape = if self.grey { &shape[..3] } else { &shape };
        let dataset = Dataset::from_bytes(shape, bytes)?.with_classes(labels, classes.len())?;
        Ok(Images { dataset, classes, files: files.into_iter().map(|(_, path)| path).collect() })
    }

    /// Reads one picture from the bytes of its file: height, width and the pixels, row by row. The folder does not matter.
    ///
    /// ```
    /// use gemmule::data::ImageFolder;
    ///
    /// let error = ImageFolder::new("").grey().read_image(b"GIF89a").unwrap_err();
    /// assert!(error.to_string().contains("expected PNG or JPEG"));
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_image(&self, file: &[u8]) -> Result<(usize, usize, Vec<u8>)> {
        self.decode(Path::new(READER), file)
    }

    /// Classes by name, and the files with the class of each.
    fn files(&self) -> Result<(Vec<String>, Labelled)> {
        let mut classes = Vec::new();
        let mut files = Vec::new();
        for path in entries(&self.path)? {
            if !path.is_dir() {
                continue;
            }
            let name = path.file_name().unwrap_or_default();
            let Some(name) = name.to_str() else {
                let got = name.to_string_lossy().into_owned();
                return Err(Error::data("ImageFolder::read", "the name of a class", "UTF-8", got));
            };
            let before = files.len();
            collect(&path, classes.len() as u32, DEEPEST, &mut files)?;
            if files.len() == before {
                let what = path.display().to_string();
                return Err(Error::data("ImageFolder::read", what, "at least 1 PNG or JPEG", "none"));
            }
            classes.push(name.to_owned());
        }
        if classes.is_empty() {
            let what = self.path.display().to_string();
            return Err(Error::data("ImageFolder::read", what, "a subfolder for each class", "none"));
        }
        Ok((classes, files))
    }

    /// The bytes of a file.
    fn contents(&self, path: &Path, file: fs::File, size: read::Size) -> Result<Vec<u8>> {
        let read::Size::File(len) = size else {
            return Err(format_error(path, "image", "the file", "a regular one", "a pipe or a device"));
        };
        if len > self.limit {
            let expected = format!("at most {} bytes (the limit)", self.limit);
            return Err(format_error(path, "image", "the size of the file", expected, len));
        }
        let reader = file;
        let mut source = Source {
            operation: "ImageFolder::read",
            path,
            format: "image",
            part: "",
            compressed: false,
            reader,
        };
        let claim = format!("{len} bytes");
        let contents = source.bytes(len as usize, size, &claim)?;
        source.end(&claim)?;
        Ok(contents)
    }

    fn decode(&self, path: &Path, contents: &[u8]) -> Result<(usize, usize, Vec<u8>)> {
        let wrong =
            |what: &str, expected: String, got: String| format_error(path, "image", what, expected, got);
        let damaged = |error: image::ImageError| match error {
            // Reading from memory fails for the contents' fault alone.
            image::ImageError::Limits(error) => {
                wrong("the size", format!("at most {} bytes (the limit)", self.limit), error.to_string())
            }
            error => wrong("the contents", "a whole and undamaged picture".to_owned(), error.to_string()),
        };
        let format = match image::guess_format(contents) {
            Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
            other => {
                let got = other.map_or("another format".to_owned(), |format| format!("{format:?}"));
                return Err(wrong("the format", "PNG or JPEG".to_owned(), got));
            }
        };
        if format == ImageFormat::Jpeg && !jpeg_ends(contents) {
            let expected = "a marker of the end, FF D9".to_owned();
            return Err(wrong("the end", expected, "none, as in a truncated file".to_owned()));
        }
        let mut reader = ImageReader::with_format(Cursor::new(contents), format);
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(self.limit);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        let claim = decoder.total_bytes();
        // 64 KiB for pictures so small that their file is mostly header.
        let most = (contents.len() as u64).saturating_mul(GROWTH).saturating_add(1 << 16);
        let most = most.min(self.limit / DECODERS);
        if claim > most {
            let expected = format!(
                "at most {most} bytes (an eighth of the limit, or what {} bytes can hold)",
                contents.len()
            );
            return Err(wrong("the size", expected, format!("{height} x {width}: {claim} bytes")));
        }
        let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        let (height, width) = (height as usize, width as usize);
        let size = self.size.unwrap_or((height, width));
        if size != (height, width) {
            self.check_size(path, size, width)?;
        }
        let pixels = if self.grey {
            resized::<Luma<u8>>(grey(picture), (height, width), size)
        } else {
            resized::<Rgb<u8>>(picture.into_rgb8().into_raw(), (height, width), size)
        };
        Ok((size.0, size.1, pixels))
    }

    /// What resizing takes: between its two passes 16 bytes for each of `size.0 x width` pixels.
    fn check_size(&self, path: &Path, (height, width): (usize, usize), old_width: usize) -> Result<()> {
        if height == 0 || width == 0 || u32::try_from(height).is_err() || u32::try_from(width).is_err() {
            let got = format!("{height} x {width}");
            return Err(Error::argument("ImageFolder::resize", "height x width", "1 to 2^32 - 1 each", got));
        }
        let taken = height.saturating_mul(16).saturating_mul(width.max(old_width)) as u64;
        if taken > self.limit {
            let expected = format!("at most {} bytes (the limit)", self.limit);
            let got = format!("{height} x {}: {taken} bytes", width.max(old_width));
            return Err(format_error(path, "image", "the memory for resizing", expected, got));
        }
        Ok(())
    }
}

/// The scan of a whole JPEG is followed by the end's marker; inside a scan these two bytes never stand side by side.
fn jpeg_ends(contents: &[u8]) -> bool {
    let pairs = || contents.windows(2);
    pairs()
        .rposition(|pair| pair == [0xff, 0xda])
        .is_some_and(|scan| contents[scan..].windows(2).any(|pair| pair == [0xff, 0xd9]))
}

fn grey(picture: DynamicImage) -> Vec<u8> {
    match picture {
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_) => picture.into_luma8().into_raw(),
        colour => {
            let mut pixels = colour.into_rgb8().into_raw();
            let count = pixels.len() / 3;
            for i in 0..count {
                let [r, g, b] = [0, 1, 2].map(|channel| u32::from(pixels[3 * i + channel]));
                pixels[i] = ((19595 * r + 38470 * g + 7471 * b + (1 << 15)) >> 16) as u8;
            }
            pixels.truncate(count);
            pixels
        }
    }
}

fn resized<P: image::Pixel<Subpixel = u8> + 'static>(
    pixels: Vec<u8>,
    (height, width): (usize, usize),
    size: (usize, usize),
) -> Vec<u8> {
    if (height, width) == size {
        return pixels;
    }
    let picture = ImageBuffer::<P, _>::from_raw(width as u32, height as u32, pixels);
    let picture = picture.expect("the decoder gives as many pixels as it says");
    imageops::resize(&picture, size.1 as u32, size.0 as u32, FilterType::Triangle).into_raw()
}

/// What is in a folder, sorted, without names that begin with a dot.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The pictures in a folder and below.
fn collect(folder: &Path, class: u32, depth: usize, files: &mut Labelled) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            if depth == 0 {
                let source = io::Error::other(format!("more than {DEEPEST} folders inside each other"));
                return Err(Error::Io { path, source });
            }
            collect(&path, class, depth - 1, files)?;
            continue;
        }
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str().unwrap_or_default() {
            "png" | "jpg" | "jpeg" => files.push((class, path)),
            "bmp" | "gif" | "webp" | "tif" | "tiff" | "ppm" | "pgm" => {
                let got = extension.to_string_lossy().into_owned();
                return Err(format_error(&path, "image", "the format", "PNG or JPEG", got));
            }
            _ => {}
        }
    }
    Ok(())
}
