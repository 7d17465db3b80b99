"""A small llama-server in Python, over our own llama.cpp backend: honest, or with one fault.

    with Fake(model, fault="html") as fake:
        open_backend("http", model, engine=fake.url)

It answers like llama.cpp's own (tests/runtime/server/test_llama_server.py holds that one to the same tests).
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.llama.model import Model

NAN = "@NaN@"
"""Written into a reply as the bare word that JSON does not have."""


class Fake:
    """The server. `fault` names its fault after `after` correct completions; `asked` lists the requested paths.

    As a server of texts alone it cuts replies after `cap` tokens, and tells their number if `counts`; `body` is the
    last request.
    """

    def __init__(self, model, *, fault="", after=0, other=None, cap=10**6, counts=True):
        self.backend = LlamaCpp(model, threads=1)
        self.other = LlamaCpp(other, threads=1) if other else None
        self.vocabulary = Model(model, None, lambda: None, vocabulary_only=True)
        self.path, self.fault, self.after = model, fault, after
        self.cap, self.counts, self.body = cap, counts, {}
        self.asked, self.completions = [], 0
        self.build = "b0-fake"
        self.released = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_words):
                pass

            def do_GET(self):
                fake.answer(self, None)

            def do_POST(self):
                fake.answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def faulty(self):
        return self.completions > self.after

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        for backend in (self.backend, self.other):
            if backend is not None:
                backend.close()
        self.vocabulary.close()

    def answer(self, handler, body):
        self.asked.append(handler.path)
        self.body = body or self.body
        if handler.path == "/completion":
            self.completions += 1
            value = self.complete(body)
            if self.faulty:
                value = self.spoilt(handler, value)
        elif self.fault == "texts alone":
            value = self.texts(handler.path, body)
        else:
            value = {
                "/props": self.props,
                "/v1/models": self.models,
                "/lora-adapters": lambda: [{"id": 0, "path": "l.gguf", "scale": 1.0}] if self.fault == "lora" else [],
                "/tokenize": lambda: self.tokenize(body),
            }.get(handler.path, lambda: None)()
        if value is not None:
            send(handler, 200, "application/json; charset=utf-8", json.dumps(value).replace(f'"{NAN}"', "NaN"))
        elif not handler.wfile.closed and handler.path != "/completion":
            send(handler, 404, "application/json", '{"error": {"code": 404}}')

    def spoilt(self, handler, value):
        """Apply the fault; return None if nothing is left to send."""
        told = value.get("completion_probabilities") or [{}]
        top = told[0].get("top_logprobs", [{}])
        if self.fault == "positive":
            told[0]["logprob"] = 0.7
        elif self.fault == "apart":
            told[0]["logprob"] -= 0.4
            top[0]["logprob"] -= 0.4
        elif self.fault == "nan":
            told[0]["logprob"] = NAN
        elif self.fault == "text for a number":
            told[0]["logprob"] = "high"
        elif self.fault == "after the bias":
            told[0]["logprob"] = 0.0
        elif self.fault == "another token":
            told[0]["id"] = (told[0].get("id", 0) + 1) % 256
        elif self.fault == "unknown token":
            value["tokens"] = [10**6]
        elif self.fault == "no log-probabilities":
            value.pop("completion_probabilities", None)
        elif self.fault == "no top":
            top.clear()
        elif self.fault == "another name":
            value["model"] = "another.gguf"
        elif self.fault == "truncated":
            value["truncated"] = True
        elif self.fault == "endless":
            value |= {"tokens": value["tokens"][:1], "stop_type": "limit"}
        elif self.fault == "html":
            send(handler, 200, "text/html", "<html>the secret is Paris</html>")
        elif self.fault == "500":
            send(handler, 500, "application/json", '{"error": {"message": "the secret is Paris"}}')
        elif self.fault == "503":
            send(handler, 503, "application/json", '{"error": {"message": "Loading model"}}')
        elif self.fault == "401":
            send(handler, 401, "application/json", '{"error": {"message": "Invalid API Key"}}')
        elif self.fault == "redirect":
            handler.send_response(307)
            handler.send_header("Location", "http://192.0.2.1/collect?secret")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif self.fault == "no json":
            send(handler, 200, "application/json", '{"tokens": [1, 2')
        elif self.fault == "a list":
            send(handler, 200, "application/json", "[]")
        elif self.fault == "closes":
            handler.close_connection = True
        elif self.fault == "closes within":
            send(handler, 200, "application/json", '{"tokens"', length=100)
            handler.close_connection = True
        elif self.fault == "stalls":
            self.released.wait()
        elif self.fault == "drips":
            send(handler, 200, "application/json", "", length=10**6)
            while not self.released.wait(0.05):
                handler.wfile.write(b" ")
        elif self.fault == "no http":
            handler.wfile.write(b"\x16\x03\x01 what is this\r\n\r\n")
            handler.close_connection = True
        if self.fault in {
            "html", "500", "503", "401", "redirect", "no json", "a list", "closes", "closes within", "stalls", "drips",
            "no http",
        }:  # fmt: skip
            return None
        return value

    def props(self):
        name = "other.gguf" if self.fault == "moved" and self.faulty else str(self.path)
        return {
            "default_generation_settings": {"n_ctx": 2048},
            "model_path": name,
            "build_info": self.build,
            "chat_template": self.backend.info.chat_template,
        }

    def models(self):
        more = 1 if self.fault == "other sizes" else 0
        meta = {name: size + more for name, size in self.vocabulary.shape.items()}
        return {"data": [{"id": "m", "meta": meta}]}

    def tokenize(self, body):
        found = [
            token
            for text in body["content"]
            for token in self.vocabulary.tokenize(text, special=False, parse_special=body["parse_special"])
        ]
        return {"tokens": found[:-1] if self.fault == "other tokens" else found}

    def texts(self, path, body):
        """A server with OpenAI's completion interface that gives no log-probabilities."""
        if path == "/v1/models":
            return {"data": [{"id": "m"}]}
        if path != "/v1/completions" or body.get("echo"):
            return None
        tokens = self.vocabulary.tokenize(body["prompt"], special=True, parse_special=True)
        request = GenerateRequest(
            tokens, min(self.cap, body["max_tokens"]), (), body["temperature"], body.get("seed", 0)
        )
        (found,) = self.backend.generate([request])
        choice = {"text": found.text, "finish_reason": "length" if found.finish == "length" else "stop"}
        usage = {"usage": {"completion_tokens": len(found.tokens)}} if self.counts else {}
        return {"model": "m", "choices": [choice], **usage}

    def complete(self, body):
        backend = self.other if self.other is not None and self.faulty else self.backend
        tokens = tuple(body["prompt"])
        answer = {"model": "m", "truncated": False, "stop_type": "limit"}
        if body["n_probs"] == 0:
            request = GenerateRequest(tokens, body["n_predict"], tuple(body["stop"]), body["temperature"],
                                      body.get("seed", 0))  # fmt: skip
            (found,) = backend.generate([request])
            return answer | {"tokens": list(found.tokens) + ([261] if found.finish == "eos" else []),
                             "stop_type": {"stop": "word"}.get(found.finish, found.finish)}  # fmt: skip
        forced = body["logit_bias"][0][0]
        every = [ScoreRequest(tokens, (token,)) for token in range(backend.info.vocabulary)]
        logprobs = [float(score.logprobs[0]) for score in backend.score(every)]
        order = np.argsort([-one for one in logprobs], kind="stable")[: body["n_probs"]]
        top = [{"id": int(token), "logprob": logprobs[token]} for token in order]
        told = {"id": forced, "logprob": logprobs[forced], "top_logprobs": top}
        # As llama-server: a text that ends within a character is not told yet.
        piece = self.vocabulary.piece(forced, special=True)
        return answer | {"tokens": [forced], "completion_probabilities": [] if piece[-1:] >= b"\xc0" else [told]}


def send(handler, status, kind, text, length=None):
    data = text.encode()
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)
