"""``adapter-tune push``."""

from __future__ import annotations

from adapter_tune.commands.options import exchange
from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.hub_calls import check_repository_name, offline_variable
from adapter_tune.foundation.startup import prepare_libraries


def push(
    run: exchange.PushedRun,
    repository: exchange.Repository,
    private: exchange.Private = False,
    revision: exchange.Branch = None,
    model: exchange.PushModel = None,
) -> None:
    """Push a finished run to the Hugging Face Hub, from where every command can use it.

    Weights, configuration, result, tokenizer and a model card are uploaded as one commit; no data, no local paths.
    """
    check_repository_name(repository)
    variable = offline_variable()
    if variable is not None:
        raise RunError(f"{variable} is set, so nothing can be pushed; unset it")
    prepare_libraries(False)
    from adapter_tune.exchange.pushing import push_run

    pushed = push_run(run, repository, private=private, revision=revision, model=model)
    for name in pushed.left_out:
        print(f"not uploaded: {name}")
    print(f"{len(pushed.files)} files pushed to {pushed.repository} at commit {pushed.commit}")
    print(pushed.url)
    print(f"use it: adapter-tune predict {pushed.repository}@{pushed.commit} --input FILE --output FILE")
