"""Tuning methods: each attaches something small to a frozen network, and can save and load it.

::

    method = registry.resolve("method", "lora")
    network = method.attach(network, config)      # what is trained requires a gradient
    method.save(network, folder)                  # safetensors
    network = method.load(network, folder)
"""
