"""Base weights: where they come from, their checksums, and the build for an engine.

::

    find_model("smollm2-135m-instruct") -> ModelSource    (package, folder or hub id)
    read_gguf(path), read_folder(source) -> Checkpoint    (Hugging Face's names)
    merge_adapter(checkpoint, folder)   -> Checkpoint     (LoRA, in numpy)
    build_model(source, ...)            -> BuiltModel     (CTranslate2 folder in the user's cache)
"""
