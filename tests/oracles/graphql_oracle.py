"""Judges recorded GraphQL requests with graphql-core, an engine that nobody of this project wrote.

    graphql_oracle.py FILE...

Each line of a file is one request: {"schema": "19.5" | "18.9", "query": "...", "variables": {...}} and, if wanted,
"operation_name", and "accepted": false when the simulated GitLab refused the request (the engine must refuse it, too;
the default is true). The schemas are the SDL files that the simulated GitLab is built from. Checked: the document
against the schema, the variables' coercion to their types, and that global ids look like GitLab's.
Ends with 0 when engine and recording agree on every request, with 1 and the list of where they do not.
"""

import json
import re
import sys
from pathlib import Path

from graphql import GraphQLError, build_schema, get_operation_ast, parse, specified_rules, validate
from graphql.execution.values import get_variable_values

SCHEMAS = Path(__file__).resolve().parents[2] / "crates" / "testkit" / "sim" / "schema"
GLOBAL_ID = re.compile(r"gid://gitlab/[A-Z][A-Za-z]*(::[A-Z][A-Za-z]*)*/[0-9]+")


def load(version):
    path = SCHEMAS / f"gitlab-{version}.graphql"
    schema = build_schema(path.read_text(encoding="utf-8"))
    for name, scalar in schema.type_map.items():
        # GitLab's typed ids: AiSelfHostedModelID and its like
        if name.endswith("ID") and name != "ID":
            scalar.coerce_input_value = lambda value, name=name: parse_global_id(name, value)
    return schema


def parse_global_id(name, value):
    if not isinstance(value, str) or not GLOBAL_ID.fullmatch(value):
        raise GraphQLError(f"{value!r} is not a global id ({name})")
    return value


def problems(schema, request):
    """Why the engine refuses a request; empty when it takes it."""
    try:
        document = parse(request["query"])
    except GraphQLError as error:
        return [error.message]
    errors = validate(schema, document, specified_rules)
    if errors:
        return [error.message for error in errors]
    operation = get_operation_ast(document, request.get("operation_name"))
    if operation is None:
        return ["no operation, or several and none named"]
    declared = {definition.variable.name.value for definition in operation.variable_definitions or ()}
    variables = request.get("variables") or {}
    coerced = get_variable_values(schema, operation.variable_definitions or (), variables)
    found = [error.message for error in coerced] if isinstance(coerced, list) else []
    # GitLab ignores a variable that the operation does not declare; sending one is a mistake of the sender
    return found + [f"variable ${name} is not declared" for name in variables if name not in declared]


def main():
    files = sys.argv[1:]
    if not files:
        print(__doc__, file=sys.stderr)
        return 2
    schemas, count, failures = {}, 0, []
    for file in files:
        for number, line in enumerate(Path(file).read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            request = json.loads(line)
            version = request["schema"]
            if version not in schemas:
                schemas[version] = load(version)
            count += 1
            found = problems(schemas[version], request)
            accepted = request.get("accepted", True)
            if accepted and found:
                failures.append(f"{file}:{number} ({version}): {'; '.join(found)}")
            elif not accepted and not found:
                failures.append(f"{file}:{number} ({version}): was refused, but the engine takes it")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(f"graphql oracle: {count - len(failures)} of {count} requests agree")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
