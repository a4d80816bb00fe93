"""The Postman collection, made from the published description.

`python tests/docs/postman.py` writes it anew.
"""

import json
from pathlib import Path

from proffer.api.openapi.document import description
from proffer.wire.postman import collection

PAGE = Path(__file__).parents[2] / "docs" / "postman_collection.json"


def text() -> str:
    made = collection(description(), "http://127.0.0.1:8700")
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
