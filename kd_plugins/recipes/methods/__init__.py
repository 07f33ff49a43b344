"""Every method that recipes know; a new one is a row in one of these files."""

from __future__ import annotations

from .ensembles import ENSEMBLE_METHODS
from .features import FEATURE_METHODS
from .letkd import LETKD_METHODS
from .local import LOCAL_METHODS
from .logits import LOGIT_METHODS
from .method import Method, Setting, Term

METHODS: dict[str, Method] = {
    method.name: method
    for method in (*LOGIT_METHODS, *FEATURE_METHODS, *ENSEMBLE_METHODS, *LOCAL_METHODS, *LETKD_METHODS)
}
BASELINE = "ce"

__all__ = ["BASELINE", "METHODS", "Method", "Setting", "Term"]
