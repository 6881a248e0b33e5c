//! Verdicts, the alarm lifecycle, transitions.
