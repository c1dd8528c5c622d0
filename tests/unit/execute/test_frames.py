"""Frames between node and supervisor: whole however they are cut, refused when malformed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failwell.execute.frames import FrameReader, encode_frame

headers = st.dictionaries(st.text(max_size=5).filter(lambda key: key != "blobs"), st.integers() | st.text(max_size=9))


@settings(max_examples=40)
@given(st.lists(st.tuples(headers, st.lists(st.binary(max_size=40), max_size=3)), max_size=4), st.data())
def test_frames_arrive_whole_however_the_stream_is_cut(
    frames: list[tuple[dict[str, object], list[bytes]]], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(header, *blobs) for header, blobs in frames)
    reader, taken = FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
        while (frame := reader.take()) is not None:
            taken.append(frame)
    assert taken == frames


@pytest.mark.parametrize(
    "stream",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x0e" + b'{"blobs":[-1]}',
        b"\x00\x00\x00\x10" + b'{"blobs":[true]}',
        b"\x00\x00\x00\x16" + b'{"blobs":[9999999999]}',
        b"\x00\x00\x00\x03{x}",
    ],
)
def test_a_malformed_frame_is_refused(stream: bytes) -> None:
    reader = FrameReader()
    reader.feed(stream)
    with pytest.raises(ValueError):
        reader.take()
