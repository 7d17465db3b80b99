"""The model `edgeproof` of lm-evaluation-harness: an artifact on its backend. Needs the extra [lm-eval]."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeproof.eval.suites.lm_harness import (
    generate_request,
    generations,
    loglikelihoods,
    prefix_token,
    rolling_loglikelihoods,
)
from edgeproof.export.artifact.manifest import digest_artifact
from edgeproof.release.steps.files.changes import refuse_changed, states
from edgeproof.runtime import backend_for, open_backend
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


@register_model("edgeproof")
class EdgeproofLM(LM):  # type: ignore[misc]
    """Runs an artifact.

    Args:
        artifact: a GGUF file, an ONNX folder, or what `backend` takes.
        lora: an adapter beside it.
        backend: what runs the artifact; by its kind by default.
        context_length: tokens of the longest request; the backend's own limit by default.
        threads: all cores by default.
        prefix_token_id: the token before an empty context; the BOS, else the end of text by default.
        seed: of sampled answers.
        device: lm_eval's, which names a graphics card unless told otherwise; an artifact runs where its backend does.
        batch_size: the same; a backend divides its work itself.
        max_batch_size: the same.

    """

    def __init__(
        self,
        artifact: str,
        *,
        lora: str | None = None,
        backend: str | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        prefix_token_id: int | None = None,
        seed: int = 0,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        del device, batch_size, max_batch_size
        path = Path(artifact)
        self._paths = (path,) if lora is None else (path, Path(lora))
        self._before = states(self._paths)
        self._digests = [digest_artifact(one)[0].sha256 for one in self._paths]
        self._seed = int(seed)
        self.backend = open_backend(
            backend or backend_for(path),
            path,
            lora=None if lora is None else Path(lora),
            context_length=context_length,
            threads=threads,
        )
        self.backend.__enter__()
        atexit.register(self.close)
        self._prefix = prefix_token(self.backend, prefix_token_id)

    def close(self) -> None:
        """End the engine's process."""
        atexit.unregister(self.close)
        self.backend.__exit__(None, None, None)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:  # noqa: ARG002, FBT001, FBT002
        """Log-probability of each continuation, and whether it is greedy."""
        pairs = [request.args for request in requests]
        found = [(one.logprob, one.greedy) for one in loglikelihoods(self.backend, pairs, self._prefix)]
        for pair, one in zip(pairs, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", pair, one)
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:  # noqa: ARG002, FBT001, FBT002
        """Log-probability of each whole text."""
        texts = [request.args for request in requests]
        found = rolling_loglikelihoods(self.backend, [text for (text,) in texts], self._prefix)
        for text, one in zip(texts, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", text, one)
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002, FBT001, FBT002
        """Text of each answer, without its stop string."""
        asked = [request.args for request in requests]
        made = generations(
            self.backend,
            [
                generate_request(self.backend, context, options, self._seed + index)
                for index, (context, options) in enumerate(asked)
            ],
        )
        for one, text in zip(asked, made, strict=True):
            self.cache_hook.add_partial("generate_until", one, text)
        return made

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: FBT001, FBT002
        """Render a conversation with the artifact's own template."""
        return self.backend.render_chat(chat_history, add_generation_prompt=add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:  # noqa: FBT001, FBT002
        """Return the artifact's template, for the record."""
        return self.backend.info.chat_template if chat_template else None

    @property
    def tokenizer_name(self) -> str:
        """What tells one artifact's cached requests from another's."""
        return self.backend.info.tokenizer_digest

    def get_model_info(self) -> dict[str, Any]:
        """Return what ran, for lm_eval's results file, which it makes when all has been measured.

        Raises:
            ArtifactError: the artifact is not what it was at the start.

        """
        refuse_changed(self._paths, self._before)
        info = self.backend.info
        digests = zip(("artifact_sha256", "lora_sha256"), self._digests, strict=False)
        about = {"artifact": self._paths[0].name, **dict(digests)}
        return {**about, "backend": info.backend, "engine": info.engine, **info.options}
