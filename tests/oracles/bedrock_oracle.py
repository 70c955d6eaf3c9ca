"""Judges the Bedrock side with AWS's own client library (botocore), which nobody of this project wrote.

    bedrock_oracle.py --url URL         the simulated Bedrock at URL: botocore signs, sends, parses, reads the frames
    bedrock_oracle.py --journal SOURCE  requests that reached a simulated Bedrock (a file of its journal, or its URL):
                                        each must be what the service model allows

Needs a simulator that accepts the key of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (default: the example key of
AWS's documentation), in AWS_REGION (default us-east-1), and whose journal and faults nobody else uses.
Ends with 0 when everything held, with 1 and the list of what did not.
"""

import argparse
import json
import os
import sys
import urllib.request

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EventStreamError
from botocore.validate import ParamValidator

MIXTRAL = "mistral.mixtral-8x7b-instruct-v0:1"
CLAUDE = "anthropic.claude-3-sonnet-20240229-v1:0"
CLAUDE_ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}"
EXAMPLE_ID = "AKIAIOSFODNN7EXAMPLE"
EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
OPERATIONS = ("Converse", "ConverseStream")


class Judge:
    def __init__(self):
        self.checks, self.failures = 0, []

    def check(self, holds, what):
        self.checks += 1
        if not holds:
            self.failures.append(what)

    def equal(self, got, wanted, what):
        self.check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")

    def end(self):
        for failure in self.failures:
            print(f"FAILED {failure}", file=sys.stderr)
        print(f"bedrock oracle: {self.checks - len(self.failures)} of {self.checks} checks hold")
        return 1 if self.failures or not self.checks else 0


def service_model():
    return botocore.session.get_session().get_service_model("bedrock-runtime")


def unknown_members(value, shape, path):
    """Members of a raw answer that the service model does not have (parsers drop them without a word)."""
    if shape.type_name == "structure" and isinstance(value, dict) and not getattr(shape, "is_document_type", False):
        for name, inner in value.items():
            # Bedrock pads the events of a stream with this member
            if name not in shape.members and name != "p":
                yield f"{path}.{name}"
            elif name in shape.members:
                yield from unknown_members(inner, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list" and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from unknown_members(inner, shape.member, f"{path}[{index}]")


class Simulator:
    def __init__(self, url, judge):
        self.url, self.judge = url.rstrip("/"), judge
        self.region = os.environ.get("AWS_REGION", "us-east-1")
        self.key = os.environ.get("AWS_ACCESS_KEY_ID", EXAMPLE_ID)
        self.secret = os.environ.get("AWS_SECRET_ACCESS_KEY", EXAMPLE_SECRET)
        self.model = service_model()
        self.client = self.client_with(self.key, self.secret)
        self.client.meta.events.register("after-call.bedrock-runtime.Converse", self.judge_raw)

    def client_with(self, key, secret, token=None, region=None):
        return botocore.session.get_session().create_client(
            "bedrock-runtime",
            region_name=region or self.region,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30, signature_version="v4"),
        )

    def judge_raw(self, http_response, **_):
        if http_response.status_code == 200:
            shape = self.model.operation_model("Converse").output_shape
            try:
                unknown = list(unknown_members(json.loads(http_response.content), shape, "Converse"))
            except ValueError:
                return
            self.judge.equal(unknown, [], "members of the answer that Converse does not have")

    def control(self, path, body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/_sim/{path}", data, {"content-type": "application/json"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=30).close()

    def fault(self, **fault):
        self.control("faults", {"times": 1, **fault})

    def journal(self):
        with urllib.request.urlopen(f"{self.url}/_sim/journal", timeout=30) as answer:
            return json.load(answer)

    def error_of(self, client=None, model=MIXTRAL, **arguments):
        arguments.setdefault("messages", user("hi"))
        try:
            (client or self.client).converse(modelId=model, **arguments)
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            return code, status, error.response["Error"]["Message"]
        return None


def user(text):
    return [{"role": "user", "content": [{"text": text}]}]


def read_stream(answer):
    """Text, names of events, and the last error of a streamed answer."""
    text, names, stop, usage = "", [], None, None
    try:
        for event in answer["stream"]:
            (name, value), = event.items()
            names.append(name)
            if name == "contentBlockDelta":
                text += value["delta"]["text"]
            elif name == "messageStop":
                stop = value["stopReason"]
            elif name == "metadata":
                usage = value["usage"]
    except Exception as error:  # noqa: BLE001 - which error it is, is what is judged
        return text, names, stop, usage, error
    return text, names, stop, usage, None


def judge_answers(sim, judge):
    for model in (MIXTRAL, CLAUDE, CLAUDE_ARN, f"us.{CLAUDE}"):
        arguments = {"modelId": model, "messages": user("What is GitLab?")}
        answer = sim.client.converse(**arguments)
        text = answer["output"]["message"]["content"][0]["text"]
        judge.check(model in text and "What is GitLab?" in text, f"{model}: the answer names model and question: {text}")
        judge.equal(answer["stopReason"], "end_turn", f"{model}: stop reason")
        usage = answer["usage"]
        judge.equal(usage["inputTokens"] + usage["outputTokens"], usage["totalTokens"], f"{model}: tokens")
        report = ParamValidator().validate(
            {name: value for name, value in answer.items() if name != "ResponseMetadata"},
            sim.model.operation_model("Converse").output_shape,
        )
        judge.check(not report.has_errors(), f"{model}: {report.generate_report()}")

        streamed, names, stop, stream_usage, error = read_stream(sim.client.converse_stream(**arguments))
        judge.equal(error, None, f"{model}: stream error")
        judge.equal(streamed, text, f"{model}: streamed text")
        judge.equal((names[0], names[-3:]), ("messageStart", ["contentBlockStop", "messageStop", "metadata"]), model)
        judge.equal((stop, stream_usage), ("end_turn", usage), f"{model}: stream's end")
    limited = sim.client.converse(modelId=MIXTRAL, messages=user("hi"), inferenceConfig={"maxTokens": 2})
    judge.equal(limited["stopReason"], "max_tokens", "limited answer")
    judge.equal(limited["usage"]["outputTokens"], 2, "limited answer's tokens")


def judge_refusals(sim, judge):
    system = sim.error_of(system=[{"text": "be kind"}])
    judge.check(
        system and system[:2] == ("ValidationException", 400)
        and system[2].startswith("This model doesn't support system messages"),
        f"Mixtral refuses system messages: {system}",
    )
    for what, wanted, arguments in (
        ("unknown model", ("ValidationException", 400), {"model": "acme.model-1"}),
        ("profile needed", ("ValidationException", 400), {"model": "anthropic.claude-sonnet-4-20250514-v1:0"}),
        ("assistant first", ("ValidationException", 400), {"messages": [{"role": "assistant", "content": [{"text": "a"}]}]}),
        ("blank text", ("ValidationException", 400), {"messages": user(" ")}),
        ("two users", ("ValidationException", 400), {"messages": user("a") + user("b")}),
        ("caching", ("AccessDeniedException", 403),
         {"messages": [{"role": "user", "content": [{"text": "a"}, {"cachePoint": {"type": "default"}}]}]}),
    ):
        got = sim.error_of(**arguments)
        judge.equal(got and got[:2], wanted, what)

    # botocore would not send an unknown member, so the request is made by hand and signed by botocore
    for body, status in (({"messages": user("hi")}, 200), ({"messages": user("hi"), "max_tokens": 5}, 400)):
        judge.equal(post_signed(sim, json.dumps(body).encode()), status, f"status of {body}")
    judge.equal(post_signed(sim, b"{}", sent=b'{"messages":[]}'), 403, "another body than the signed one")


def post_signed(sim, body, sent=None):
    path = f"/model/{MIXTRAL.replace(':', '%3A')}/converse"
    request = AWSRequest("POST", sim.url + path, {"content-type": "application/json"}, body)
    SigV4Auth(Credentials(sim.key, sim.secret), "bedrock", sim.region).add_auth(request)
    raw = urllib.request.Request(sim.url + path, sent or body, dict(request.headers.items()), method="POST")
    try:
        with urllib.request.urlopen(raw, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def judge_keys(sim, judge):
    for what, client, code in (
        ("wrong secret", sim.client_with(sim.key, "wrong"), "InvalidSignatureException"),
        ("unknown key", sim.client_with("AKIAUNKNOWN", sim.secret), "UnrecognizedClientException"),
        ("unknown session token", sim.client_with(sim.key, sim.secret, "token"), "UnrecognizedClientException"),
        ("other region", sim.client_with(sim.key, sim.secret, region="eu-west-3"), "InvalidSignatureException"),
    ):
        got = sim.error_of(client)
        judge.equal(got and got[:2], (code, 403), what)


def judge_faults(sim, judge):
    for kind, code, status in (
        ("throttling", "ThrottlingException", 429),
        ("model_not_ready", "ModelNotReadyException", 429),
        ("model_timeout", "ModelTimeoutException", 408),
        ("model_error", "ModelErrorException", 424),
        ("internal_server", "InternalServerException", 500),
        ("service_unavailable", "ServiceUnavailableException", 503),
        ("access_denied", "AccessDeniedException", 403),
    ):
        sim.fault(kind=kind)
        try:
            sim.client.converse(modelId=MIXTRAL, messages=user("hi"))
            judge.check(False, f"{kind}: no error")
        except ClientError as error:
            judge.equal(type(error).__name__, code, f"{kind}: botocore's class")
            judge.equal(error.response["ResponseMetadata"]["HTTPStatusCode"], status, f"{kind}: status")
            judge.check(error.response["Error"]["Message"], f"{kind}: a message")
    for name in (
        "internalServerException",
        "modelStreamErrorException",
        "validationException",
        "throttlingException",
        "serviceUnavailableException",
    ):
        sim.fault(kind="stream_exception", exception=name, after=3)
        _, names, _, _, error = read_stream(sim.client.converse_stream(modelId=MIXTRAL, messages=user("hi")))
        judge.equal(names, ["messageStart", "contentBlockDelta", "contentBlockDelta"], f"{name}: events before it")
        judge.check(isinstance(error, EventStreamError), f"{name}: read as {error!r}")
        if isinstance(error, EventStreamError):
            judge.equal(error.response["Error"]["Code"], name, f"{name}: code")
            judge.check(error.response["Error"]["Message"], f"{name}: a message")
    sim.fault(kind="wrong_checksum", after=2)
    error = read_stream(sim.client.converse_stream(modelId=MIXTRAL, messages=user("hi")))[-1]
    judge.check(isinstance(error, ChecksumMismatch), f"wrong checksum: read as {error!r}")
    sim.fault(kind="cut", after=2)
    answer = read_stream(sim.client.converse_stream(modelId=MIXTRAL, messages=user("hi")))
    judge.check(answer[-1] is not None and "metadata" not in answer[1], f"cut: read as {answer[-1]!r}")


def judge_url(url, judge):
    sim = Simulator(url, judge)
    judge_answers(sim, judge)
    judge_refusals(sim, judge)
    judge_keys(sim, judge)
    judge_faults(sim, judge)
    judge.check(sim.secret not in json.dumps(sim.journal()), "the journal holds no secret")


def read_calls(source):
    """Calls of a journal: its URL, a file with its JSON list, or a file with one call a line."""
    if source.startswith("http://"):
        with urllib.request.urlopen(f"{source.rstrip('/')}/_sim/journal", timeout=30) as answer:
            return json.load(answer)
    with open(source, encoding="utf-8") as file:
        text = file.read().strip()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line]


def judge_journal(source, judge):
    """Every request must be valid by the service model. Calls of tests that break the rules on purpose do not belong
    into such a journal."""
    model = service_model()
    calls = [call for call in read_calls(source) if call["operation"] in OPERATIONS]
    judge.check(calls, f"{source} holds no Converse call")
    for call in calls:
        parameters = {"modelId": call["model"], **(call["request"] or {})}
        shape = model.operation_model(call["operation"]).input_shape
        report = ParamValidator().validate(parameters, shape)
        judge.check(not report.has_errors(), f"call {call['id']}, {call['operation']}: {report.generate_report()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="the simulated Bedrock to judge")
    parser.add_argument("--journal", action="append", default=[], help="recorded requests to judge; repeatable")
    arguments = parser.parse_args()
    if not arguments.url and not arguments.journal:
        parser.error("nothing to judge: give --url or --journal")
    judge = Judge()
    if arguments.url:
        judge_url(arguments.url, judge)
    for source in arguments.journal:
        judge_journal(source, judge)
    return judge.end()


if __name__ == "__main__":
    sys.exit(main())
