"""Embeds the texts of a data set with a sentence transformer of BERT's kind, in NumPy: no PyTorch, no network.

Takes `model.safetensors`, `config.json` and `tokenizer.json` of such a model (all-MiniLM-L6-v2 and its like: post-norm
BERT, mean over the tokens) from the folder that setting `model` names, and gives a vector of length 1 for each training
sample, which selectors take in the place of a proxy's embeddings. Needs numpy, safetensors and tokenizers.

With PyTorch, `SentenceTransformer(model).encode(texts, normalize_embeddings=True)` stands in the place of `Bert`; for
images a network of theirs, which finds them in part `images`.
"""

import json
import math
import pathlib

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

# So many texts at once, and so many numbers at once where the formula is long: what fits into a cache is quicker.
AT_ONCE = 8
BLOCK = 1 << 15


class Bert:
    """The network, with dropout off."""

    def __init__(self, folder, tokens):
        weights = load_file(folder / "model.safetensors")
        self.weights = {name: np.asarray(value, dtype=np.float32) for name, value in weights.items()}
        self.config = json.loads((folder / "config.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(tokens)
        self.tokenizer.enable_padding(pad_id=self.config["pad_token_id"])

    def dense(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name, x):
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def layer(self, name, x, mask):
        n, t, d = x.shape
        heads = self.config["num_attention_heads"]

        def split(part):
            return self.dense(f"{name}.attention.self.{part}", x).reshape(n, t, heads, -1).swapaxes(1, 2)

        query, key, value = split("query"), split("key"), split("value")
        weights = query @ key.swapaxes(2, 3) / math.sqrt(d // heads) + mask[:, None, None]
        weights = np.exp(weights - weights.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        seen = (weights @ value).swapaxes(1, 2).reshape(n, t, d)
        x = self.norm(f"{name}.attention.output.LayerNorm", x + self.dense(f"{name}.attention.output.dense", seen))
        inner = gelu(self.dense(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", x + self.dense(f"{name}.output.dense", inner))

    def encode(self, texts):
        """Returns a vector of length 1 for each text."""
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded])
        real = np.array([one.attention_mask for one in encoded], dtype=np.float32)
        embeddings = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
        word, position, kind = (self.weights[name] for name in embeddings)
        x = self.norm("embeddings.LayerNorm", word[ids] + position[: ids.shape[1]] + kind[0])
        for at in range(self.config["num_hidden_layers"]):
            x = self.layer(f"encoder.layer.{at}", x, (1 - real) * np.float32(-1e9))
        means = (x * real[:, :, None]).sum(1) / real.sum(1, keepdims=True)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def gelu(x):
    """Each of x times the normal distribution function of it."""
    flat = x.reshape(-1)
    for begin in range(0, len(flat), BLOCK):
        flat[begin : begin + BLOCK] = times_normal(flat[begin : begin + BLOCK])
    return x


def times_normal(x):
    """The function by Abramowitz & Stegun 7.1.26, to 2e-7."""
    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * np.exp(-z * z)
    return x * (0.5 + 0.5 * np.sign(x) * (1 - tail)).astype(np.float32)


def texts(parts, field):
    """Returns the texts of the training samples: of JSON lines the field of that name, of other files the whole row."""
    (file,) = load_file(parts["rows"]).values()
    places = load_file(parts["row_places"])
    rows = (file[begin:end].tobytes().decode() for begin, end in zip(places["begin"], places["end"]))
    return [json.loads(row)[field] if row.lstrip().startswith("{") else row for row in rows]


def main():
    request = json.load(open("request.json"))
    settings, parts = request["settings"], request["inputs"]["data"]["parts"]
    network = Bert(pathlib.Path(settings["model"]), settings["tokens"])
    found = texts(parts, settings["field"])
    # Texts of about one length together, so that little is padded.
    order = sorted(range(len(found)), key=lambda at: len(found[at]))
    vectors = np.zeros((len(found), network.config["hidden_size"]), dtype=np.float32)
    for begin in range(0, len(order), AT_ONCE):
        some = order[begin : begin + AT_ONCE]
        vectors[some] = network.encode([found[at] for at in some])
        print(f"progress {min(begin + AT_ONCE, len(order))}/{len(order)}", flush=True)
    save_file({"embeddings": vectors}, "out/outputs.safetensors")


main()
