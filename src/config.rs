//! The process's settings: environment -> [`Config`], all mistakes reported at once. The only reader of the environment.
