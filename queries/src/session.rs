//! One text of SQL, run within a budget.
