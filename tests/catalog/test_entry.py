import msgspec
import pytest

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.units import Bytes

pytestmark = pytest.mark.pure


def file(quant: str, size: int, *, exact: bool = False) -> ModelFile:
    return ModelFile(quant=quant, bytes=Bytes(size), exact=exact, source="s")


def entry(*files: ModelFile, **facts: object) -> CatalogEntry:
    known = {"name": "m", "title": "M", "license": "mit", "capabilities": ["chat"]} | facts
    return msgspec.structs.replace(msgspec.convert(known, CatalogEntry), files=files)


def test_quantizations_are_listed_once_and_by_size() -> None:
    model = entry(file("Q8_0", 9), file("Q4_K_M", 5), file("Q8_0", 8))
    assert ("Q4_K_M", "Q8_0") == model.quants


def test_a_file_of_known_size_goes_before_an_estimate() -> None:
    model = entry(file("Q8_0", 8), file("Q8_0", 9, exact=True))
    found = model.file("q8_0")
    assert found
    assert 9 == found.bytes
    assert model.file("Q2_K") is None


def test_a_model_answers_to_its_name_and_its_aliases() -> None:
    model = entry(aliases=["n"], quant_aliases={"n-q8": "Q8_0"})
    assert ("m", "n", "n-q8") == model.names


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"context": 0}, "context"),
        ({"license": ""}, "license"),
        ({"capabilities": ["poetry"]}, "capabilities"),
        ({"name": "No Spaces"}, "name"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_the_schema_names_the_key_that_is_wrong(facts: dict[str, object], key: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=key):
        entry(**facts)
