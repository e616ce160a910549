//! Draws a deployment as a Mermaid diagram.
