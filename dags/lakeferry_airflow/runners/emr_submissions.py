"""Submissions to EMR Serverless, written down in the lake before they are made.

EMR answers a client token that it knows with the job that the token started, but refuses one with other parameters.
A later try has other parameters as soon as `make package` or a setting changed. So the exact request of a submission is
a document, created before the request is sent, and every later question with its token repeats that request.

The submissions of one stage of one plan are numbered, and number n + 1 is written only once the job of n is known to
have ended, or not to be. A number is taken by a conditional create: of two drivers one gets it, the other finds the
winner's request and asks with it. So the newest submission is the only one whose job can run.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.runs.plan_document import is_newer_plan
from jobs.runs.receipts import safe_run_id

if TYPE_CHECKING:
    from jobs.lake.documents import Documents
    from lakeferry_airflow.runners import Work

_TOKENS = uuid.UUID("4a7a6c4f-0d39-5a3b-9d5e-6f6b6b1f0c55")
_ANSWER = ".answer.json"


@dataclass(frozen=True)
class Submission:
    """`request` holds the arguments of StartJobRun, the client token among them, as they were first sent."""

    number: int
    request: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The outcome of a request: the id of its job, or the refusal of EMR or its client."""

    job_id: str | None
    refusal: str | None = None


class SubmissionLog:
    """The submissions of one stage of one plan. Errors of every method are those of the lake's documents.

    They lie beside the plan, `submissions/PIPELINE/RUN/STAGE/PLAN/NUMBER.json`, where PLAN is a hash of the plan's
    address; what EMR answered lies in `NUMBER.answer.json`. Neither holds a secret, as the request holds none.
    """

    def __init__(self, documents: Documents, work: Work) -> None:
        self._documents = documents
        self._work = work
        plan = hashlib.sha256(work.plan_uri.encode()).hexdigest()[:16]
        self._stage_folder = f"submissions/{work.pipeline}/{safe_run_id(work.run_id)}/{work.stage}"
        self._folder = f"{self._stage_folder}/{plan}"

    def newest(self) -> Submission | None:
        """The last submission, or None before the first."""
        names = [key.rsplit("/", 1)[1] for key in self._documents.list(f"{self._folder}/")]
        numbers = [int(name.removesuffix(".json")) for name in names if not name.endswith(_ANSWER)]
        if not numbers:
            return None
        return self._read(max(numbers))

    def jobs_of_earlier_plans(self) -> list[str]:
        """Ids of the stage's newest jobs for earlier plans of the run, which may have ended. A try that was given up as
        lost may work for an old plan while its successor works for a newer one.

        One listing, and two reads for each plan.

        A request without an answer is left out: to ask for its job would be to start it.
        """
        newest: dict[str, int] = {}
        for key in self._documents.list(f"{self._stage_folder}/"):
            folder, _, name = key.rpartition("/")
            if folder != self._folder and not name.endswith(_ANSWER):
                newest[folder] = max(newest.get(folder, 0), int(name.removesuffix(".json")))
        jobs = []
        for folder, number in newest.items():
            text = self._documents.find(f"{folder}/{number}{_ANSWER}")
            job_id = Answer(**json.loads(text)).job_id if text is not None else None
            if job_id is not None and not self._is_newer(self._documents.read(f"{folder}/{number}.json")):
                jobs.append(job_id)
        return jobs

    def _is_newer(self, document: str) -> bool:
        """Whether a submission is for a newer plan than this one's."""
        arguments = self._parse(0, document).request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
        return is_newer_plan(arguments[arguments.index("--plan") + 1], self._work.plan_uri)

    def append(self, number: int, request: dict[str, Any]) -> Submission | None:
        """Write the submission of this number, with a client token of its own; None where another driver has.

        Args:
            request: the arguments of StartJobRun without the client token.
        """
        text = json.dumps(request, ensure_ascii=False)
        signed = {"clientToken": token(self._work, number, text), **request}
        document = json.dumps({"try": self._work.attempt, "request": signed}, ensure_ascii=False, indent=1)
        # What is sent is what was written: a process that sends it again reads it from the same text.
        return self._parse(number, document) if self._documents.create(self._key(number), document) else None

    def answer(self, submission: Submission) -> Answer | None:
        """Return what EMR answered, or None if nobody has written it down."""
        text = self._documents.find(self._answer_key(submission))
        return Answer(**json.loads(text)) if text is not None else None

    def write_answer(self, submission: Submission, answer: Answer) -> Answer:
        """Write down what EMR answered; the answer that stands, which is the first that was written."""
        document = json.dumps({"job_id": answer.job_id, "refusal": answer.refusal}, ensure_ascii=False)
        if self._documents.create(self._answer_key(submission), document):
            return answer
        return Answer(**json.loads(self._documents.read(self._answer_key(submission))))

    def key(self, submission: Submission) -> str:
        """Where in the lake the submission's document lies."""
        return self._key(submission.number)

    def _read(self, number: int) -> Submission:
        return self._parse(number, self._documents.read(self._key(number)))

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number}.json"

    def _answer_key(self, submission: Submission) -> str:
        return f"{self._folder}/{submission.number}{_ANSWER}"

    @staticmethod
    def _parse(number: int, document: str) -> Submission:
        return Submission(number, json.loads(document)["request"])


def token(work: Work, attempt: int, request: str = "") -> str:
    """The client token of one try: 36 characters, of the 64 that EMR allows.

    `request` is the try's request. It is a part of the token, so that no request meets a token that EMR knows with
    other parameters, not even where the submissions were deleted.
    """
    parts = [work.pipeline, work.run_id, work.stage, work.plan_uri, str(attempt)]
    return str(uuid.uuid5(_TOKENS, "\n".join([*parts, request] if request else parts)))
