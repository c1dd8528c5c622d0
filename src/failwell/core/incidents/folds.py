"""The folds of everything about incidents, for `core.folds`."""

from __future__ import annotations

from failwell.core.following import Fold
from failwell.core.incidents import cases, customers, holding, noticing, releasing, work

FOLDS: dict[type, Fold] = {
    **noticing.FOLDS,
    **cases.FOLDS,
    **holding.FOLDS,
    **customers.FOLDS,
    **work.FOLDS,
    **releasing.FOLDS,
}
