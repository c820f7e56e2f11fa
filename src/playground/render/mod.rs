//! A Render: API, deploy hooks and services that are really replaced.
