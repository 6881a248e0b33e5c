//! weir's SQL: statements, functions, plans.
