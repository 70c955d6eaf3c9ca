"""Judges recorded calls of model servers with the providers' own libraries, which nobody of this project wrote.

    providers_oracle.py FILE

Each line of FILE is one call: {"case": "...", "target": "/path", "request": {...}, "response": "<base64>"}. The case
and the path say who is asked. Requests are judged by the official packages' types (`openai`, `anthropic`) and by AWS's
service models (`botocore`); the answers that were sent back are read by the same libraries, so that what our reading is
tested with is what such servers write. Ends with 0 when all hold, with 1 and the list of what did not.
"""

import base64
import json
import sys
import typing
import urllib.parse

from pydantic import TypeAdapter, ValidationError

EXTRA_OF_VLLM = {"continue_final_message", "add_generation_prompt"}
# the package dropped them from its types with 1.0; the API takes them for models that have sampling
SAMPLING = {"temperature", "top_p"}


def unknown(request, parameters, allowed=()):
    names = set(typing.get_type_hints(parameters, include_extras=True))
    return [f"member {name} is not one of the API" for name in request if name not in names and name not in allowed]


def typed(value, kind):
    """Complaints of the package's own types; iterables are read to their end."""
    try:
        TypeAdapter(kind).validate_python(value)
        return []
    except ValidationError as error:
        return [str(error)]


def events(text):
    return [line[5:].strip() for line in text.splitlines() if line.startswith("data:") and line[5:].strip() != "[DONE]"]


def openai_chat(request, body):
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
    from openai.types.chat.completion_create_params import (
        CompletionCreateParamsNonStreaming as Whole,
        CompletionCreateParamsStreaming as Stream,
    )

    streamed = request.get("stream", False)
    found = unknown(request, Stream if streamed else Whole, EXTRA_OF_VLLM)
    found += typed({**request, "messages": []}, Stream if streamed else Whole)
    found += typed(request["messages"], list[ChatCompletionMessageParam])
    for text in events(body) if streamed else [body]:
        found += typed(json.loads(text), ChatCompletionChunk if streamed else ChatCompletion)
    return found


def openai_text(request, body):
    from openai.types import Completion
    from openai.types.completion_create_params import (
        CompletionCreateParamsNonStreaming as Whole,
        CompletionCreateParamsStreaming as Stream,
    )

    streamed = request.get("stream", False)
    found = unknown(request, Stream if streamed else Whole)
    if not isinstance(request.get("prompt"), str):
        found.append("prompt is not a text")
    found += typed({**request, "prompt": "p"}, Stream if streamed else Whole)
    for text in events(body) if streamed else [body]:
        answer = json.loads(text)
        for choice in answer["choices"]:
            # servers leave it null until the end; the package's type does not say so
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        found += typed(answer, Completion)
    return found


def anthropic(request, body, vertex):
    from anthropic.types import Message, MessageParam, RawMessageStreamEvent, TextBlockParam
    from anthropic.types.message_create_params import (
        MessageCreateParamsNonStreaming as Whole,
        MessageCreateParamsStreaming as Stream,
    )

    found = []
    if vertex:
        if request.pop("anthropic_version", None) != "vertex-2023-10-16" or "model" in request:
            found.append("the body for Vertex AI names its version and no model")
        request["model"] = "m"
    kind = Stream if request.get("stream", False) else Whole
    found += unknown(request, kind, SAMPLING)
    found += typed({**request, "messages": [], "system": []}, kind)
    found += typed(request.get("system", []), list[TextBlockParam])
    for message in request["messages"]:
        found += typed({**message, "content": "x"}, MessageParam)
        if not isinstance(message["content"], str):
            found += typed(message["content"], list[TextBlockParam])
    stops = request.get("stop_sequences", [])
    if isinstance(stops, str) or any(not stop.strip() for stop in stops):
        found.append("stop_sequences is a list of texts that are not blank")
    if kind is Whole:
        found += typed(json.loads(body), Message)
    else:
        # the type of events does not list the ping
        texts = [text for text in events(body) if json.loads(text)["type"] != "ping"]
        for text in texts:
            found += typed(json.loads(text), RawMessageStreamEvent)
    return found


def bedrock(target, request, raw):
    import botocore.session
    from botocore.eventstream import EventStreamBuffer
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    _, _, model_id, verb = urllib.parse.unquote(target).split("/", 3)
    operation = model.operation_model({"converse": "Converse", "converse-stream": "ConverseStream"}[verb])
    report = ParamValidator().validate({"modelId": model_id, **request}, operation.input_shape)
    found = [report.generate_report()] if report.has_errors() else []
    if verb == "converse":
        report = ParamValidator().validate(json.loads(raw), operation.output_shape)
        return found + ([report.generate_report()] if report.has_errors() else [])
    shape = operation.output_shape.members["stream"]
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    for event in buffer:
        name = event.headers[":event-type"]
        report = ParamValidator().validate(json.loads(event.payload), shape.members[name])
        found += [f"{name}: {report.generate_report()}"] if report.has_errors() else []
    return found


def sts(form, raw, denied):
    import botocore.session
    from botocore.parsers import QueryParser
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("sts")
    if (form.pop("Action"), form.pop("Version")) != ("AssumeRole", model.api_version):
        return ["not AssumeRole of the service model's version"]
    operation = model.operation_model("AssumeRole")
    report = ParamValidator().validate(form, operation.input_shape)
    found = [report.generate_report()] if report.has_errors() else []
    parser = QueryParser()
    answer = parser.parse({"body": raw, "headers": {}, "status_code": 200}, operation.output_shape)
    if not answer["Credentials"]["SessionToken"]:
        found.append("the answer has no credentials")
    refusal = parser.parse({"body": denied, "headers": {}, "status_code": 403}, operation.output_shape)
    if refusal["Error"]["Code"] != "AccessDenied":
        found.append(f"the refusal reads as {refusal}")
    return found


def judge(record):
    target, request, raw = record["target"], record["request"], base64.b64decode(record["response"])
    path = target.split("?")[0]
    if record["case"] == "sts":
        return sts(request, raw, base64.b64decode(record["denied"]))
    if path.startswith("/model/"):
        return bedrock(path, request, raw)
    text = raw.decode()
    if path.endswith("/chat/completions"):
        return openai_chat(request, text)
    if path.endswith("/completions"):
        return openai_text(request, text)
    return anthropic(request, text, vertex=not path.endswith("/v1/messages"))


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        records = [json.loads(line) for line in file if line.strip()]
    failures = [f"{record['case']}: {complaint}" for record in records for complaint in judge(record)]
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(f"providers oracle: {len(records)} records, {len(failures)} complaints")
    return 1 if failures or not records else 0


if __name__ == "__main__":
    sys.exit(main())
