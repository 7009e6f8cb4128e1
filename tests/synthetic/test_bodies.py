"""Bodies: proportions, and what fits a motion."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.synthetic.bodies import fit_body, random_body, rest_joints
from lithepose.synthetic.movements import motion


def test_bodies_are_adults_with_the_proportions_of_people():
    for seed in range(50):
        body = random_body(np.random.default_rng(seed))
        assert 1.5 <= body.stature <= 1.95
        standing = body.ankle_height + body.thigh + body.shin + body.trunk + body.neck + body.head
        assert standing == pytest.approx(body.stature, rel=0.06)
        assert 0.11 < body.hip_width / body.stature < 0.14


def test_a_body_fitted_to_a_motion_has_its_lengths():
    body = random_body(np.random.default_rng(5))
    joints = motion("wave", 1.0, 10, body, np.random.default_rng(0))
    fitted = fit_body(joints, np.random.default_rng(1))
    for name in ("thigh", "shin", "hip_width", "shoulder_width", "upper_arm", "forearm"):
        assert getattr(fitted, name) == pytest.approx(getattr(body, name))


def test_joints_in_millimetres_do_not_make_a_body():
    joints = rest_joints(random_body(np.random.default_rng(0)))[None] * 1000
    with pytest.raises(ValueError, match="must be metres"):
        fit_body(joints, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"\(T, 17, 3\)"):
        fit_body(joints[0], np.random.default_rng(0))
