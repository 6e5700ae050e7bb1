"""Pipelines: steps as functions or classes, their parameters by name, and their order."""

from __future__ import annotations

from crystallize.pipelines.injection import inject_from_ctx
from crystallize.pipelines.pipeline import Pipeline, pipeline
from crystallize.pipelines.step import PipelineStep, pipeline_step

__all__ = ["Pipeline", "PipelineStep", "inject_from_ctx", "pipeline", "pipeline_step"]
