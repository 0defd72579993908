import multiprocessing
import time

import pytest

from mm_face_stylizer.worker_pool import worker_pool


def test_an_interruption_ends_the_workers_and_what_they_have_not_begun():
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), worker_pool(2, time.sleep, (0,)) as pool:
        assert pool.submit(abs, -3).result() == 3
        for _ in range(6):
            pool.submit(time.sleep, 300)
        raise KeyboardInterrupt
    assert time.monotonic() - start < 60
    assert not multiprocessing.active_children()
