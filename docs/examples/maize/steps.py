"""Draw as many pairs anew, estimate the difference from them, and see how far off that is."""

from __future__ import annotations

from statistics import fmean

from crystallize import pipeline_step


def trimmed_mean(values, trim):
    """Average what is left without a share of the values at either end."""
    left_out = min(int(trim * len(values)), (len(values) - 1) // 2)
    return fmean(sorted(values)[left_out : len(values) - left_out])


@pipeline_step()
def resample(data, ctx):
    return data, ctx.rng.choice(data, size=len(data)).tolist()


@pipeline_step()
def deviation(data, ctx, *, trim=0.0):
    everything, drawn = data
    off_by = abs(trimmed_mean(drawn, trim) - trimmed_mean(everything, trim))
    return off_by, {"inches off": off_by}
