"""From any scan to the grid and range of a model; saved with the model as its settings."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from ganatomy.scans import alignment, framing
from ganatomy.scans.errors import ScanError
from ganatomy.scans.intensity import equalise, normalise, resolve_channels
from ganatomy.scans.prepared import Ends, Prepared
from ganatomy.scans.scan import Scan
from ganatomy.scans.threads import one_thread
from ganatomy.scans.tiles import Tiles


class Preprocessing(BaseModel):
    """Scan to samples in [-1, 1], with the way back kept.

    All geometry (orientation, margin, spacing, framing, size, alignment) is one index map and
    one interpolation, with Gaussian anti-aliasing where it shrinks; pixel i is centred on
    index i. A volume is normalised as a whole, also where a 2D model takes its slices.

    Args:
        rank: 2 for a model of pictures or slices, 3 for one of volumes.
        size: the model's grid, `rank` numbers.
        channels: 1 to 64, all normalised alike.
        orientation: 'RAS' turns volumes by the nearest permutation and flips: a 3D model's axes
            run to the right, anterior and superior; a 2D model sees slices as radiologists do
            (axial: rows to posterior, columns to the patient's left; coronal: inferior, left;
            sagittal: inferior, posterior), slices in the order of RAS. A slice with an affine,
            alone or as a volume of one slice, is turned as the slices of the plane nearest to
            its own; a picture stays [row, column]. A volume given as an array, without an
            affine, is taken to be in RAS order already. None keeps the file's axes.
        plane: which slices a 2D model takes of a volume of several; with orientation None
            sagittal, coronal and axial are the first, second and third axis.
        slices: fractions of a volume's slices, in the model's order: a 2D model takes those from
            the first to the second; the others are not seen.
        spacing: mm a model pixel, one number an axis; the grid is then centred on the scan,
            cut or filled, and `framing` does not apply. None: `framing` decides.
        overlap: cut the scan, or each slice, into tiles of `size` of which neighbours share at
            least this fraction of a side, above 0 and up to 0.75. All of the scan is seen at
            `spacing`, or without one at its own pixels, and normalised before it is cut. Each tile
            is a sample, as a slice is, and maps of tiles are blended without a seam. With a mask,
            tiles of which it covers a tenth are taken, and what else shows the rest of it. None:
            not cut.
        neighbours: 2D models see so many slices on either side of each as further channels, in
            the order of the slices, an end's slice again where there is none.
        voi: read DICOM files as they ask to be displayed, through their own first VOI table or
            window, each slice through its own; files without one, and other formats, as they
            are. Values are then shades, no longer HU, also for `window`. Reading comes before
            `apply`: whoever reads scans for a model passes `read_scan(…, window=voi)` on.
        bias_field: divide by the slow change of brightness that MR coils leave (N4), before
            anything else is done to the values; seconds a volume.
        mask: 'body', or 'brain' for MR (see `masks.find_mask` for where it fails): outside, samples
            are -1 and take no part in equalisation or normalisation, and maps are NaN. A 2D model
            takes the slices of which the mask covers a hundredth or more. 'place', for a role
            that is prepared on another's grid: the mask of that scan, by its settings.
        mask_erosion: mm taken off the mask all around: the mask of a single slice leaves a rim of
            scalp or skull, which is odder than what is looked for. A picture without spacing
            counts as in `masks.find_mask`.
        window: values outside are clipped first (HU for CT).
        equalise: clip limit of contrast-limited adaptive histogram equalisation, after shrinking
            the longer side to `working_size`; None for none.
        working_size: see `equalise`; images are never enlarged to it.
        align: move and scale each scan to fit the training mean (see `fit`).
        framing: 'stretch' scales each axis alone, 'fit' keeps the aspect and fills the rest,
            'crop' keeps the aspect, covers the grid and cuts the rest.
        normalise: 'range' minimum and maximum to ±1, 'percentile' 1st and 99th, 'contrast'
            mean 0 and standard deviation 1, clipped to ±3 and divided by 3, 'window' the
            window's ends to ±1.
        grey: turn colour into luminance for a model of one channel.
        margin: fraction cut off at each side before anything else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: Literal[2, 3] = 2
    size: tuple[int, ...] = (64, 64)
    channels: int = Field(1, ge=1, le=64)
    orientation: Literal["RAS"] | None = "RAS"
    plane: Literal["axial", "coronal", "sagittal"] = "axial"
    slices: tuple[float, float] | None = None
    spacing: tuple[float, ...] | None = None
    overlap: float | None = Field(None, gt=0, le=0.75)
    neighbours: int = Field(0, ge=0, le=4)
    voi: bool = False
    bias_field: bool = False
    mask: Literal["body", "brain", "place"] | None = None
    mask_erosion: float = Field(0.0, ge=0, le=100)
    window: tuple[float, float] | None = None
    equalise: float | None = Field(None, gt=0, le=1)
    working_size: int = Field(224, ge=16, le=2048)
    align: bool = False
    framing: Literal["stretch", "fit", "crop"] = "stretch"
    normalise: Literal["range", "percentile", "contrast", "window"] = "range"
    grey: bool = False
    margin: float = Field(0.0, ge=0, lt=0.5)

    _template: np.ndarray | None = PrivateAttr(None)
    _searched: np.ndarray | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _agree(self):
        if len(self.size) != self.rank or min(self.size) < 2:
            raise ValueError(f"size needs {self.rank} numbers of 2 or more")
        if self.spacing is not None and (len(self.spacing) != self.rank or min(self.spacing) <= 0):
            raise ValueError(f"spacing needs {self.rank} positive numbers")
        if self.slices is not None:
            if self.rank == 3:
                raise ValueError("slices are for 2D models")
            if not 0 <= self.slices[0] < self.slices[1] <= 1:
                raise ValueError("slices needs two fractions, a low and a high")
        if self.neighbours and self.rank == 3:
            raise ValueError("neighbours are for 2D models")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError("window needs a low end below its high end")
        if self.normalise == "window" and self.window is None:
            raise ValueError("normalise: window needs a window")
        if self.mask_erosion and self.mask is None:
            raise ValueError("mask_erosion needs a mask")
        if self.overlap is not None and self.align:
            raise ValueError("align moves a whole scan to fit the model; with overlap leave it out")
        if self.grey and self.channels != 1:
            raise ValueError("grey is for models of one channel")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample, (*size, channels)."""
        return (*self.size, self.channels * (2 * self.neighbours + 1))

    @property
    def template_(self) -> np.ndarray | None:
        """Mean training image on the model's grid, float32 [*size]; None before `fit`."""
        return self._template

    def fit(self, scans: Iterable[Scan]) -> "Preprocessing":
        """Learn the mean image that scans are aligned to; does nothing unless `align` is set.

        The mean of the training scans as they are, then the mean after aligning each to it. A scan
        that does not suit the model has no part in it; `apply` says why.

        Args:
            scans: healthy training scans, read once.

        Raises:
            ScanError: not one scan suits the model; why the first does not.
            ValueError: no scans.
        """
        if not self.align:
            return self
        views, refused = [], None
        for scan in scans:
            try:
                views.append(self._view(self._prepare(scan)[0]).astype(np.float16))
            except ScanError as error:
                refused = refused or error
        if not views:
            raise refused or ValueError("fit needs at least one scan")
        searched = [alignment.search_image(view) for view in views]
        first = np.mean(searched, axis=0)
        total = np.zeros(self.size, np.float64)
        for view, small in zip(views, searched, strict=True):
            total += alignment.move(view.astype(np.float32), alignment.align(small, first))
        self._set_template((total / len(views)).astype(np.float32))
        return self

    def state(self) -> dict[str, np.ndarray]:
        """What `fit` learned, by name; empty where nothing is."""
        return {} if self._template is None else {"template": self._template}

    def load_state(self, state: dict[str, np.ndarray]) -> "Preprocessing":
        """Take back what `state` gave.

        Raises:
            ValueError: arrays that do not belong to these settings.
        """
        if set(state) - {"template"}:
            raise ValueError(f"unknown arrays: {sorted(set(state) - {'template'})}")
        if "template" in state:
            template = np.asarray(state["template"], np.float32)
            if template.shape != self.size:
                raise ValueError(f"template has shape {template.shape}, expected {self.size}")
            self._set_template(template)
        return self

    def mask_of(self, scan: Scan) -> np.ndarray | None:
        """Which pixels of a scan its mask covers, bool [i, j(, k)]; None without a mask.

        Raises:
            ScanError: nothing of what it looks for.
        """
        if self.mask is None:
            return None
        with one_thread():
            pixels = resolve_channels(scan, self.channels, self.grey)
            return self._found(self._even(pixels, scan) if self.bias_field else pixels, scan)

    def apply(self, scan: Scan, mask: np.ndarray | None = None) -> Prepared:
        """Samples for the model.

        Args:
            scan: to be prepared.
            mask: where `mask` is 'place', what `mask_of` found on the scan whose grid it lies on.

        Raises:
            ScanError: wrong rank or channels, or nothing to see.
            RuntimeError: `align` is set and `fit` was not called, or a mask is wanted.
        """
        template = self._searched
        if self.align and template is None:
            raise RuntimeError("align needs a template: call fit or load_state first")
        if self.mask == "place" and mask is None:
            raise RuntimeError("mask is 'place': give the mask of the scan on whose grid this lies")
        with one_thread():
            samples, mask, field, render, values = self._prepare(scan, mask)
            if not self.align or template is None:
                tiles = self._tiles(samples, mask)
                return Prepared(samples, field, None, mask, tiles, self.neighbours, values)
            found = alignment.align(alignment.search_image(self._view(samples)), template)
            field = field.aligned(found)
            samples, mask, values = render(field)
            moved = found.astype(np.float32)
            return Prepared(samples, field, moved, mask, None, self.neighbours, values)

    def _tiles(self, samples: np.ndarray, mask: np.ndarray | None) -> Tiles | None:
        if self.overlap is None:
            return None
        return Tiles.over(samples.shape[:-1], self.size, self.overlap, mask)

    def _set_template(self, template: np.ndarray) -> None:
        self._template = template
        self._searched = alignment.search_image(template)

    @staticmethod
    def _view(samples: np.ndarray) -> np.ndarray:
        # one alignment a scan: slices of a volume move together, so their mean is aligned
        return samples.mean(axis=(0, -1))

    def _prepare(self, scan: Scan, given: np.ndarray | None = None):
        """Unaligned samples, mask and field, what renders another field, and what ±1 stand for."""
        pixels = resolve_channels(scan, self.channels, self.grey)
        field = framing.field_of(scan, self)
        if self.bias_field:
            pixels = self._even(pixels, scan)
        masked = None
        if self.mask is not None:
            found = self._found(pixels, scan) if given is None else given
            field = framing.showing(field, found, scan.path)
            pixels = np.where(found[..., None], pixels, pixels[found].min())
            masked = field.cut(found[..., None].astype(np.float32))
        image = field.cut(pixels)
        if self.window is not None:
            image = np.clip(image, *self.window)
        shape = image.shape[: self.rank]
        window = self.window
        if self.equalise is not None:
            image = equalise(image, self.rank, self.working_size, self.equalise)
            window = (0.0, 1.0)
        shrunk = [before / after for before, after in zip(shape, image.shape, strict=False)]
        gridded = self.spacing is not None or self.overlap is not None
        filled = gridded or self.framing == "fit"

        def render(field: framing.Field) -> tuple[np.ndarray, np.ndarray | None, Ends]:
            samples = field.sample(image, shrunk)
            mask = None if masked is None else field.sample(masked)[..., 0] >= 0.5
            covered = field.covered() if filled else None
            if covered is not None and not covered.any():
                problem = "is thinner than a pixel of the model"
                raise ScanError(scan.path, problem, "an image that the model's grid resolves")
            if mask is not None:
                mask = mask if covered is None else mask & covered
                if not mask.any():
                    problem = f"shows no {self.mask} where the model looks"
                    raise ScanError(scan.path, problem, "another mask, margin or framing")
                covered = mask
            try:
                samples, ends = normalise(samples, self.normalise, window, covered)
            except ValueError as error:
                problem = "shows a single value where the model looks"
                raise ScanError(scan.path, problem, "an image with contrast") from error
            if mask is not None:
                samples[~mask] = -1
            return samples, mask, ends

        samples, mask, ends = render(field)
        return samples, mask, field, render, ends

    @staticmethod
    def _even(pixels: np.ndarray, scan: Scan) -> np.ndarray:
        from ganatomy.scans.bias_field import without_bias_field

        try:
            return without_bias_field(pixels, scan.spacing)
        except ValueError as error:
            expected = "MR magnitudes of 0 or more"
            raise ScanError(scan.path, f"has {error}: no bias field", expected) from error

    def _found(self, pixels: np.ndarray, scan: Scan) -> np.ndarray:
        from ganatomy.scans.masks import find_mask

        assert self.mask in ("body", "brain")
        try:
            return find_mask(pixels.mean(axis=-1), self.mask, scan.spacing, self.mask_erosion)
        except ValueError as error:
            expected = "a scan of a body on a plain background"
            raise ScanError(scan.path, f"shows no {self.mask}: {error}", expected) from error
