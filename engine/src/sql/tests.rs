//! What is taken and what is refused; cases are data.
