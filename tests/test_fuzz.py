"""A short budget of `tests.fuzz`; `make fuzz` is the long one."""

from __future__ import annotations

import pytest

from tests import fuzz


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [
        # Each in such numbers that what is attacked is reached: most of the refusals, and URLs.
        (
            "events",
            2000,
            {"signed", "preflight", *fuzz.CODES} - {"Misconfigured", "CredentialsMissing", "InternalError"},
        ),
        ("settings", 400, {"signed", "Misconfigured"}),
        ("tampering", 300, {"stored", "SignatureDoesNotMatch", "InvalidArgument"}),
    ],
)
def test_nothing_random_breaks_a_promise(name, inputs, expected):
    outcomes = fuzz.run(name, inputs, 20261122)

    assert set(outcomes) >= expected, outcomes
    assert sum(outcomes.values()) >= inputs * 0.9


def test_the_command_says_how_many_inputs_it_tried_and_with_which_seed(capsys):
    fuzz.main(["--inputs", "20", "--seed", "7", "--only", "signers"])

    assert capsys.readouterr().out.startswith("signers: 20 inputs in ")
