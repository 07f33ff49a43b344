"""letKD-2: a second KD layer, taught sub-classes."""

from ._letkd import COMMON, ROW, SOURCE
from ._record import Method

METHOD = Method(
    name="letkd2",
    title="letKD-2",
    summary="a second KD layer, taught sub-classes of an earlier map",
    values=ROW | {"subclasses": 8, "alpha_intermediate": 1.0},
    source=SOURCE.format(and_more=", sub-classes, the 60 directions before them"),
    options=("components", "pca"),
    **COMMON,
)
