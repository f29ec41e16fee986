"""Validates documents against a JSON schema with jsonschema.

stdin: `{"schema": schema, "strict": bool, "documents": list}`. stdout: a list,
in the same order, of the faults of each document, as text. A strict validation
refuses fields that the schema does not name, which the schema itself allows.
"""

import json
import sys

from jsonschema import FormatChecker
from jsonschema.validators import validator_for


def closed(schema):
    """Returns the schema with no room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        inner["additionalProperties"] = False
    return inner


question = json.load(sys.stdin)
Validator = validator_for(question["schema"])
Validator.check_schema(question["schema"])
schema = closed(question["schema"]) if question["strict"] else question["schema"]
validator = Validator(schema, format_checker=FormatChecker())
faults = [
    [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    for document in question["documents"]
]
json.dump(faults, sys.stdout)
