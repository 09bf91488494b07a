"""Run a model file on pictures: one interface, several engines, none of them loaded until asked for."""

from sparnet.engine.base import ENGINES, PRECISIONS, Engine, open_engine

__all__ = ["ENGINES", "PRECISIONS", "Engine", "open_engine"]
