"""A prediction request: read, tokenised, put into batches, answered."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from adapter_tune.foundation.errors import RunError
from adapter_tune.multitask.texts import TaskTexts
from adapter_tune.serving import schemas
from adapter_tune.serving.batcher import Batcher
from adapter_tune.serving.jobs import Job, Logits
from adapter_tune.serving.json_bodies import parse
from adapter_tune.serving.limits import Limits, read_body
from adapter_tune.serving.metrics import Metrics
from adapter_tune.serving.refusals import RefusedRequest
from adapter_tune.serving.residency import ServedTask, ServedTasks
from adapter_tune.tasks.predictions import prediction_of


@dataclass(frozen=True)
class Accepted:
    """A request whose rows are in the queue; they are ordered by input, then by task."""

    job: Job
    tasks: list[ServedTask]
    are_truncated: list[bool]


class Predictor:
    """Answers prediction requests. Texts are tokenised in a thread, and computed in that of the batcher.

    Args:
        tasks: by name.
        texts: tokenises for a task.
        batcher: computes rows.
        limits: of a request.
        metrics: where truncated rows are counted.
    """

    def __init__(
        self, tasks: ServedTasks, texts: TaskTexts, batcher: Batcher, limits: Limits, metrics: Metrics
    ) -> None:
        self.tasks = tasks
        self.texts = texts
        self.batcher = batcher
        self.limits = limits
        self.metrics = metrics
        self._tokenising = ThreadPoolExecutor(1, "tokenising")  # a second thread would wait for the tokenizer's lock
        self._requests = 0

    async def answer(self, request: Request, facts: dict[str, Any]) -> Response:
        """The answer to a request.

        Args:
            request: of HTTP.
            facts: gets what the log says about the request: tasks, rows, tokens.

        Raises:
            RefusedRequest: the request is wrong, too large, or not answered in time.
            ClientDisconnect: the client hung up.
        """
        self._check_requests()
        self._requests += 1
        try:
            body = await read_body(request, self.limits)
            deadline = time.monotonic() + self.limits.seconds
            loop = asyncio.get_running_loop()
            accepted = await loop.run_in_executor(self._tokenising, self._accept, body, deadline)
            facts["tasks"] = list(dict.fromkeys(task.name for task in accepted.tasks))
            facts["rows"] = len(accepted.job.rows)
            facts["tokens"] = sum(row.length for row in accepted.job.rows)
            logits = await self._wait(accepted.job, request, deadline)
        finally:
            self._requests -= 1
        return Response(_response(accepted, logits).model_dump_json(), media_type="application/json")

    def _check_requests(self) -> None:
        """Refuse a request before its body is read if there are more requests than rows may wait."""
        if self._requests >= self.limits.queue:
            raise RefusedRequest(429, "too many requests at once; try again in 1 s", {"Retry-After": "1"})

    def _accept(self, body: bytes, deadline: float) -> Accepted:
        """Check a request, tokenise its rows and put them into the queue; after its deadline only refuse it."""
        if time.monotonic() > deadline:
            raise self._late()
        content = parse(body, schemas.PredictRequest)
        inputs = content.all_inputs
        self._check_size(len(inputs), content.task_names)
        tasks = [self.tasks.get(name) for name in content.task_names]
        for task in tasks:
            for position, each in enumerate(inputs):
                self._check_input(each, task, position if content.inputs is not None else None)
        rows = [task for _ in inputs for task in tasks]
        self.batcher.accept(rows)
        try:
            tokens, are_truncated = self._tokens(inputs, tasks)
            job = Job(list(zip(rows, tokens, strict=True)))
        except BaseException:
            self.batcher.give_up(rows)
            raise
        self.batcher.submit(job)
        self.metrics.truncated_rows.inc(sum(are_truncated))
        return Accepted(job, rows, are_truncated)

    def _check_size(self, inputs: int, names: list[str]) -> None:
        if inputs * len(names) > self.limits.rows:
            raise RefusedRequest(
                422,
                f"{inputs} texts for {len(names)} tasks are {inputs * len(names):,} rows, and a request may have "
                f"{self.limits.rows:,}; send fewer at once",
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise RefusedRequest(422, f"task '{twice}' is given twice; remove one")

    def _check_input(self, each: schemas.Input, task: ServedTask, position: int | None) -> None:
        prefix = "" if position is None else f"inputs[{position}]: "
        columns = task.task.spec.text
        if (each.pair is not None) != (len(columns) == 2):
            one, two = "one text; remove pair", f"two texts ({' and '.join(columns)}); give text and pair"
            raise RefusedRequest(422, f"{prefix}task '{task.name}' reads {two if len(columns) == 2 else one}")
        for text in (each.text, each.pair or ""):
            if len(text) > self.limits.characters:
                raise RefusedRequest(
                    422,
                    f"{prefix}a text has {len(text):,} characters, and at most {self.limits.characters:,} are allowed",
                )
            if "\0" in text:
                raise RefusedRequest(422, f"{prefix}a text contains a null character; remove it")

    def _tokens(
        self, inputs: list[schemas.Input], tasks: list[ServedTask]
    ) -> tuple[list[dict[str, list[int]]], list[bool]]:
        """The tokens of every row, and whether it was truncated; tasks that tokenise alike do so once."""
        columns = [[each.text for each in inputs]]
        if inputs[0].pair is not None:  # then every one has a pair, and every task reads it
            columns.append([each.pair or "" for each in inputs])
        by_key: dict[Any, Any] = {}
        for task in tasks:
            key = self.texts.key(task.task)
            if key not in by_key:
                by_key[key] = self.texts.encode(task.task, columns)
        encoded = [by_key[self.texts.key(task.task)] for task in tasks]
        tokens = [rows[position] for position in range(len(inputs)) for rows, _ in encoded]
        are_truncated = [cut[position] for position in range(len(inputs)) for _, cut in encoded]
        return tokens, are_truncated

    def _late(self) -> RefusedRequest:
        message = f"no answer within {self.limits.seconds:g} seconds, and the rows were dropped; try again later"
        return RefusedRequest(503, message, {"Retry-After": "1"})

    async def _wait(self, job: Job, request: Request, deadline: float) -> list[Logits]:
        """The logits of a job; its rows are not computed any more if the client hangs up, or has waited too long."""
        logits = asyncio.wrap_future(job.future)
        hang_up = asyncio.ensure_future(_hang_up(request))
        try:
            seconds = max(0.0, deadline - time.monotonic())
            await asyncio.wait((logits, hang_up), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if logits.done():
                return logits.result()
            if hang_up.done():
                raise ClientDisconnect
            raise self._late()
        finally:
            logits.cancel()
            hang_up.cancel()
            with suppress(asyncio.CancelledError):
                await hang_up

    def close(self) -> None:
        """End the thread that tokenises."""
        self._tokenising.shutdown()


async def _hang_up(request: Request) -> None:
    """Return when the client has closed the connection."""
    message = await request.receive()
    while message["type"] != "http.disconnect":
        message = await request.receive()


def _response(accepted: Accepted, logits: list[Logits]) -> schemas.PredictResponse:
    results = []
    tasks_of_an_input = len(set(accepted.tasks))
    for row, (task, of_row) in enumerate(zip(accepted.tasks, logits, strict=True)):
        try:
            prediction = prediction_of(task.task.spec, of_row)
        except RunError:
            raise RefusedRequest(
                500, f"task '{task.name}' gave no finite numbers; see --precision, or train it again"
            ) from None
        results.append(
            schemas.Prediction(
                input=row // tasks_of_an_input,
                task=task.name,
                prediction=prediction.answer,
                probabilities=prediction.probabilities,
                truncated=accepted.are_truncated[row],
            )
        )
    return schemas.PredictResponse(results=results)
