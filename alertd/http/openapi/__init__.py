"""What the HTTP interface is, in words that programs read: OpenAPI 3.1.

``operation.py`` has the nouns; one file a resource lists its operations beside its wire types;
``document.py`` makes the document of them. ``http/docs.py`` serves it.

Invariant: the document and the routes agree, in both directions. Tests hold every answer of the
application against the document, and ask each operation for every status that it is said to have.
"""
