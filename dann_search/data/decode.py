"""What image files are called, and their pixels with the errors of this program."""

from dataclasses import dataclass

from dann_search.data.domain import Image
from dann_search.data.image_pixels import ImageSource, Transparency, UndecodableError, read_pixels
from dann_search.errors import InputError, printable

EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class UnreadableImageError(InputError):
    """A file or a Pillow image that cannot be decoded."""

    def __init__(self, exc: UndecodableError):
        super().__init__(str(exc))
        self.place, self.reason = printable(exc.place), printable(exc.reason)


@dataclass(frozen=True)
class Preparation:
    """How pixels become those of 8-bit RGB; the arguments of ``read_pixels`` of these names."""

    grey_bits: int | None = None
    transparency: Transparency = "white"


AS_IT_IS = Preparation()


def decode_image(
    source: ImageSource, side: int, crop_size: int | None = None, how: Preparation = AS_IT_IS
) -> Image:
    """Return an image as ``read_pixels`` prepares it: uint8, shape (3, side, side).

    Raises:
        UnreadableImageError: Pillow cannot read it, or its pixels are numbers of unknown range.
    """
    try:
        return read_pixels(source, side, crop_size, how.grey_bits, how.transparency)
    except UndecodableError as exc:
        raise UnreadableImageError(exc) from None
