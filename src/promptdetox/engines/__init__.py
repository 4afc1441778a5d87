"""Engines: whatever continues prompts (`Generator`) or turns texts into vectors (`Encoder`)."""
