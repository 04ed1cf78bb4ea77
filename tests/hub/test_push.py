import pytest
from hub_server import Repository
from typer.testing import CliRunner

from graphmerge.cli.app import app
from graphmerge.places import read_named
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.stored_models import flip_byte, weights_digest


@pytest.fixture(scope="module")
def merged(models):
    """A folder `merged` with a finished output."""
    out = models.parent / "merged"
    recipe = models.parent / "linear.yml"
    names = ", ".join(f"{{model: {models / name}}}" for name in ("code", "chat"))
    recipe.write_text(f"merge_method: linear\nmodels: [{names}]\nparameters: {{weight: 0.5}}\n")
    result = CliRunner().invoke(app, ["run", str(recipe), str(out)])
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.usefixtures("with_token")
def test_what_is_pushed_can_be_merged_again(place, merged):
    name = f"{place.organisation}/merged"
    result = place.process("push", merged, name, "--private")
    assert result.returncode == 0, result.stderr
    repository = place.hub.repositories[name]
    commit = repository.branches["main"]
    assert result.stdout == f"pushed {merged} to {place.hub.url}/{name}/commit/{commit}\n"
    assert result.stderr == ""
    assert repository.is_private
    files = dict(repository.commits[commit])
    del files[".gitattributes"]
    assert files == {path.name: path.read_bytes() for path in merged.iterdir()}


@pytest.mark.usefixtures("with_token")
def test_a_branch_and_a_message_can_be_given_and_old_weights_go(place, models, merged, invoke):
    """The base has an index and three files; the merged model has one file."""
    name = f"{place.organisation}/old"
    old = place.add("old", models / "base")
    options = ("--revision", "merged", "--message", "Try weights of a half")
    result = invoke("push", merged, name, *options)
    assert result.exit_code == 0, result.output
    repository = place.hub.repositories[name]
    assert repository.branches["main"] == old
    assert repository.messages[repository.branches["merged"]] == "Try weights of a half"
    files = repository.commits[repository.branches["merged"]]
    weights = [file for file in files if file.startswith("model")]
    assert weights == ["model.safetensors"]
    found = read_named(f"{name}@merged")
    stored = read_named(str(merged))
    assert found.tensors.keys() == stored.tensors.keys()
    assert files["model.safetensors"] == (merged / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("with_token")
def test_torch_weights_and_the_adapter_that_were_there_go(place, merged, invoke):
    name = f"{place.organisation}/torch"
    kept = ["notes/pytorch.txt", "lora.txt", "training_args.bin"]
    removed = [
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "unet/diffusion_pytorch_model.fp16.bin",
        "adapter_config.json",
        "adapter_model.bin",
    ]
    repository = place.hub.repositories[name] = Repository()
    repository.commit(dict.fromkeys((*kept, *removed), b"old"))
    result = invoke("push", merged, name)
    assert result.exit_code == 0, result.output
    files = repository.commits[repository.branches["main"]].keys() - {".gitattributes"}
    assert files == {*kept, *(path.name for path in merged.iterdir())}


@pytest.mark.usefixtures("with_token")
def test_offline_nothing_is_pushed(place, merged):
    name = f"{place.organisation}/merged"
    result = place.process("push", merged, name, HF_HUB_OFFLINE="1")
    assert result.returncode == 2
    hint = "(HF_HUB_OFFLINE is set: unset it to push)"
    assert result.stderr == f"error: pushing needs the network @ {name} {hint}\n"
    assert place.hub.requests == []


@pytest.mark.usefixtures("with_token")
def test_a_public_repository_is_not_taken_for_a_private_one(place, models, merged, invoke):
    commit = place.add("public", models / "base")
    name = f"{place.organisation}/public"
    result = invoke("push", merged, name, "--private")
    assert result.exit_code == 2
    assert f"the repository is there already, and public @ {name}" in result.stderr
    assert place.hub.repositories[name].branches["main"] == commit


@pytest.mark.usefixtures("with_token")
def test_an_adapter_is_pushed_and_added_to_its_base(place, models, invoke):
    for seed, name in enumerate(("first", "second")):
        write_adapter(place.path / name, models / "base", rank=2, seed=seed)
    assert invoke("merge-lora", "both", "first", "second").exit_code == 0
    name = f"{place.organisation}/both"
    result = invoke("push", "both", name)
    assert result.exit_code == 0, result.output
    repository = place.hub.repositories[name]
    commit = repository.branches["main"]
    assert repository.messages[commit] == "Made by graphmerge merge-lora"
    files = dict(repository.commits[commit])
    del files[".gitattributes"]
    assert files == {path.name: path.read_bytes() for path in (place.path / "both").iterdir()}
    recipe = "{{merge_method: passthrough, models: [{{model: {}+{}}}]}}"
    for adapter, out in (("both", "local"), (name, "from-the-hub")):
        (place.path / "added.yml").write_text(recipe.format(models / "base", adapter))
        result = invoke("run", "added.yml", out)
        assert result.exit_code == 0, result.output
    assert weights_digest(place.path / "local") == weights_digest(place.path / "from-the-hub")
    flip_byte(place.path / "both" / "adapter_model.safetensors")
    assert invoke("push", "both", name).exit_code == 2
    assert repository.branches["main"] == commit


def test_without_a_token_nothing_is_pushed(place, merged):
    result = place.process("push", merged, f"{place.organisation}/merged")
    assert result.returncode == 2
    assert "the Hub refuses access @ " in result.stderr
    assert "set HF_TOKEN" in result.stderr
    assert f"{place.organisation}/merged" not in place.hub.repositories


def test_a_damaged_output_is_refused(place, merged, invoke):
    damaged = place.path / "damaged"
    damaged.mkdir()
    for path in merged.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    flip_byte(damaged / "model.safetensors")
    assert weights_digest(damaged) != weights_digest(merged)
    result = invoke("push", damaged, f"{place.organisation}/merged")
    assert result.exit_code == 2
    assert "changed tensor: " in result.stderr
    assert place.hub.requests == []


def test_an_output_without_manifest_is_refused(place, models, invoke):
    result = invoke("push", models / "base", f"{place.organisation}/merged")
    assert result.exit_code == 2
    assert "no graphmerge.json @ " in result.stderr
    assert place.hub.requests == []


def test_the_name_of_a_repository_has_two_parts(place, merged, invoke):
    result = invoke("push", merged, "merged")
    assert result.exit_code == 2
    assert "not a repository: got merged; wanted ORGANISATION/NAME" in result.stderr
