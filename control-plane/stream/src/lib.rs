//! SPDY/3.1 and the WebSocket channel protocols as codecs. No IO.
