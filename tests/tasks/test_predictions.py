"""What logits say, and logits that say nothing."""

import numpy as np
import pytest

from adapter_tune.foundation.errors import RunError
from adapter_tune.tasks.glue import TASKS
from adapter_tune.tasks.predictions import prediction_of


def test_a_label_has_the_largest_logit_and_a_number_is_itself() -> None:
    prediction = prediction_of(TASKS["sst2"], np.array([0.0, np.log(3)]))
    assert prediction.answer == "positive"
    assert prediction.probabilities == pytest.approx({"negative": 0.25, "positive": 0.75})
    assert prediction_of(TASKS["stsb"], np.array([2.5])).answer == 2.5


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error_and_no_label(number: float) -> None:
    with pytest.raises(RunError, match="sst2: the model gave NaN or infinite logits"):
        prediction_of(TASKS["sst2"], np.array([0.0, number]))
    with pytest.raises(RunError, match="stsb"):
        prediction_of(TASKS["stsb"], np.array([number]))
