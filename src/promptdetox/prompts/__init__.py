"""Prompts: versioned template files, demonstrations, and the token budget.

::

    load_template("rewrite-plain.v1")  -> Template
    PromptBuilder(template, ...)       -> builder
    builder.build("Shut up, idiot.")   -> Prompt
"""
