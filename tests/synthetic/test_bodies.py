"""Bodies: proportions, and what fits a motion."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.synthetic.bodies import random_body


def test_bodies_are_adults_with_the_proportions_of_people():
    for seed in range(50):
        body = random_body(np.random.default_rng(seed))
        assert 1.5 <= body.stature <= 1.95
        standing = body.ankle_height + body.thigh + body.shin + body.trunk + body.neck + body.head
        assert standing == pytest.approx(body.stature, rel=0.06)
        assert 0.11 < body.hip_width / body.stature < 0.14
