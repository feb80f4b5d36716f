"""Networks by name."""

import pytest

from basinbridge import InputError
from basinbridge.models import DigitsNet
from basinbridge.models.load import build


def test_ours_by_bare_name_and_any_by_module():
    assert isinstance(build("DigitsNet", 10), DigitsNet)
    assert build("basinbridge.models.digits:DigitsNet", 7).classifier.out_features == 7


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nothing", "TinyTen"),
        ("no_such_package:Net", "no_such_package"),
        ("torch.nn:", "package.module:factory"),
        ("builtins:dict", "not a torch.nn.Module"),
        ("torch.nn:Linear", "without arguments"),
    ],
)
def test_a_wrong_name_says_what_there_is(name, said):
    with pytest.raises(InputError, match=said):
        build(name, 10)
