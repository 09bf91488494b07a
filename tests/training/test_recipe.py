"""Recipes: what is refused, in which words, and what survives a round trip."""

import tomllib
from pathlib import Path

import pytest

from sparnet.errors import RecipeError
from sparnet.training.recipe import load_recipe, parse_recipe, recipe_to_toml

RECIPES = Path(__file__).parents[2] / "recipes"

GOOD = """
name = "r"
upscale_factor = 8
network = "sparnet-light"
[data]
train = ["faces"]
holdout_people = 5
[train]
batch_size = 4
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.learning_rat=1", "unknown key 'train.learning_rat'; did you mean 'learning_rate'?"),
        ("train.batch_size='32'", "train.batch_size must be a whole number, got '32'"),
        ("train.batch_size=1.5", "train.batch_size must be a whole number, got 1.5"),
        ("train.betas=3", "train.betas must be a list, got 3"),
        ("train=3", "train must be a table, got 3"),
        ("train.learning_rate=fast", "train.learning_rate must be a number, got 'fast'"),
        ("train.channels_last=1", "train.channels_last must be true or false, got 1"),
        ("name=3", "name must be text, got 3"),
        ("train.batch_size=0", "train.batch_size: input should be greater than or equal to 1, got 0"),
        ("upscale_factor=3", "upscale_factor must be one of 4, 8, 16, got 3"),
        ("data.holdout_people=0", "name data.validation, or hold out people by data.holdout_people"),
        ("data.validation=faces", "data.validation and data.holdout_people: one of them, not both"),
        ("data.validation_framing=0.01", "data.validation_framing: input should be greater than or equal to"),
        ("data.augment.zoom=[0.5, 0.8]", "data.augment.zoom: must be a range from 1 to at most 16, got 0.5"),
        (
            "data.augment.zoom=[2.0, 1.0]",
            "data.augment.zoom: must be a range from 1 to at most 16, got 2 to 1",
        ),
        ("data.augment.zoom=[1.0, 500.0]", "data.augment.zoom: must be a range from 1 to at most 16"),
        ("train.betas=[1.5, 0.99]", "train.betas.0: input should be less than 1, got 1.5"),
        ("adversarial.betas=[0.5, 2.0]", "adversarial.betas.1: input should be less than 1, got 2.0"),
        (f"seed={2**63}", "seed: input should be less than"),
        ('network={preset=["x"]}', "network.preset must be one of"),
        ("adversarial.weights={pixel=0, adversarial=0, feature_matching=0, perceptual=0}", "are all 0"),
        ("adversarial={start_images=8, weights={pixel=0, perceptual=0}}", "start_images must be 0 where"),
        (
            "degradation=release",
            "degradation.lr_size_px must be at most 64 px, of a face of 512 px, where upscale_factor is 8",
        ),
        ("degradation=strong", "degradation: no degradation 'strong'"),
        ("network=sparnett", "network.preset must be one of"),
        ("train.learning_rate=nan", "train.learning_rate"),
        ("name.first=a", "'name' is a value, not a table"),
        ("batch", "expected key=value"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_names_the_key(tmp_path, assignment, message):
    with pytest.raises(RecipeError) as refused:
        load_recipe(write(tmp_path, GOOD), (assignment,))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("loss", ["mse", "charbonnier"])
def test_discriminators_go_with_the_papers_pixel_loss_alone(tmp_path, loss):
    with pytest.raises(RecipeError, match=f"train.loss = {loss} and .adversarial. do not go together"):
        load_recipe(write(tmp_path, GOOD), (f"train.loss={loss}", "adversarial.start_images=0"))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("image_size = 100", "image_size must be a power of two from 16, got 100"),
        (
            "attention = '3d'",
            "network.attention must be one of spatial, channelwise, none, rcan, cbam, got '3d'",
        ),
        (
            "image_size = 256\ninput_size = 16",
            "network.input_size must be at least 32 px (image_size / upscale_factor), got 16",
        ),
        ("attention_units = 17", "attention_units must be at most the network's 7 units, got 17"),
    ],
)
def test_a_wrong_network_is_told(tmp_path, network, message):
    text = GOOD.replace('network = "sparnet-light"', "").replace(
        "[data]", f'[network]\npreset = "sparnet-light"\n{network}\n[data]'
    )
    with pytest.raises(RecipeError) as refused:
        load_recipe(write(tmp_path, text))
    assert message in str(refused.value)


def test_a_network_may_read_a_face_enlarged_but_wavelets_read_it_as_it_is(tmp_path):
    text = GOOD.replace("upscale_factor = 8", "upscale_factor = 16")
    assert load_recipe(write(tmp_path, text), ("network=sparnet-fast",)).network.reads_px == 16
    with pytest.raises(RecipeError, match="input_size must be 8 px"):
        load_recipe(write(tmp_path, text), ("network=wavelet-x8", "train.loss=wavelet"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "not a text file"), (b"a = ", "not valid TOML"), (None, "no such file")],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content, message):
    path = tmp_path / "r.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_set_changes_a_value_and_keeps_its_type(tmp_path):
    recipe = load_recipe(
        write(tmp_path, GOOD), ("train.learning_rate=3e-4", "network=sparnet", "data.augment.zoom=[1.0, 1.1]")
    )
    assert recipe.train.learning_rate == 3e-4
    assert recipe.network.body_units == 10
    assert recipe.data.augment.zoom == (1.0, 1.1)


def test_a_resolved_recipe_survives_being_written(tmp_path):
    recipe = load_recipe(write(tmp_path, GOOD))
    assert parse_recipe(tomllib.loads(recipe_to_toml(recipe)), source="again") == recipe


def test_a_recipe_extends_another(tmp_path):
    write(tmp_path, GOOD)
    child = tmp_path / "child.toml"
    child.write_text('extends = "r.toml"\nname = "child"\n[train]\ntotal_images = 7\n', encoding="utf-8")
    recipe = load_recipe(child)
    assert (recipe.name, recipe.train.total_images, recipe.train.batch_size) == ("child", 7, 4)


def test_a_table_changes_the_preset_that_an_extended_recipe_names(tmp_path):
    named = 'degradation = "paper"\nnetwork = "sparnet-hd-light"'
    write(tmp_path, GOOD.replace('upscale_factor = 8\nnetwork = "sparnet-light"', named))
    child = tmp_path / "child.toml"
    changes = "[network]\nbody_units = 3\n[degradation]\ngrayscale_probability = 0.25\n"
    child.write_text('extends = "r.toml"\n' + changes, encoding="utf-8")
    base, recipe = load_recipe(tmp_path / "r.toml"), load_recipe(child)
    assert recipe.network == base.network.model_copy(update={"body_units": 3})
    assert base.degradation is not None
    assert recipe.degradation == base.degradation.model_copy(update={"grayscale_probability": 0.25})


def test_a_number_of_thousands_of_digits_is_told_in_one_line(tmp_path):
    long = "9" * 5000
    with pytest.raises(RecipeError, match="seed must be a whole number"):
        load_recipe(write(tmp_path, GOOD), (f"seed={long}",))
    with pytest.raises(RecipeError, match="not valid TOML: Exceeds the limit"):
        load_recipe(write(tmp_path, f"seed = {long}\n" + GOOD))
    with pytest.raises(RecipeError, match="a number has too many digits"):
        load_recipe(write(tmp_path, f"seed = 0x{long}\n" + GOOD))


def test_a_recipe_that_extends_itself_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="extends"):
        load_recipe(write(tmp_path, 'extends = "r.toml"\n' + GOOD))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_is_sound(path):
    recipe = load_recipe(path)
    assert recipe.train.total_images > 0


def test_the_papers_recipe_is_the_papers():
    recipe = load_recipe(RECIPES / "paper-x8.toml")
    assert recipe.train.batch_size == 64
    assert recipe.train.learning_rate == 2e-4
    assert recipe.train.betas == (0.9, 0.99)
    assert recipe.train.schedule == "fixed"
    assert recipe.network.activation == "prelu"
    assert recipe.data.augment.quarter_turns
    assert recipe.data.augment.zoom == (1.0, 1.3)


def test_the_x16_recipes_start_from_the_weights_of_x8():
    for name in ("paper", "release", "ours"):
        recipe = load_recipe(RECIPES / f"{name}-x16.toml")
        assert recipe.upscale_factor == 16
        assert recipe.initial_weights is not None
        assert recipe.initial_weights.endswith(f"{name}-x8/model.onnx")
