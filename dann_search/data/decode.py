"""What image files are called, and their pixels with the errors of this program."""

from dann_search.data.domain import Image
from dann_search.data.image_pixels import ImageSource, UndecodableError, read_pixels
from dann_search.errors import InputError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class UnreadableImageError(InputError):
    """A file or a Pillow image that cannot be decoded."""

    def __init__(self, exc: UndecodableError):
        super().__init__(str(exc))
        self.place, self.reason = exc.place, exc.reason


def decode_image(source: ImageSource, side: int, crop_size: int | None = None) -> Image:
    """Return an image as ``read_pixels`` prepares it: uint8, shape (3, side, side).

    Raises:
        UnreadableImageError: Pillow cannot read it, or its pixels are numbers of unknown range.
    """
    try:
        return read_pixels(source, side, crop_size)
    except UndecodableError as exc:
        raise UnreadableImageError(exc) from None
