import pytest

from android_harness.cpu import big_cores, cpu_list, cpu_mask, parse_cpu_list


def test_the_kernel_s_lists_are_read() -> None:
    assert parse_cpu_list("0-7\n") == tuple(range(8))
    assert parse_cpu_list("0-1,4,6-7") == (0, 1, 4, 6, 7)
    assert parse_cpu_list("3") == (3,)


@pytest.mark.parametrize("text", ["", "a-b", "0-", "1,,2"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cpu_list(text)


def test_big_cores_are_all_but_the_slowest_cluster() -> None:
    pixel_6 = dict(enumerate([1803000] * 4 + [2253000] * 2 + [2802000] * 2))
    assert big_cores(pixel_6) == (4, 5, 6, 7)
    # The mask in TensorFlow's guide for Pixel phones.
    assert cpu_mask(big_cores(pixel_6)) == "f0"


def test_where_all_cores_are_alike_none_is_big() -> None:
    assert big_cores(dict.fromkeys(range(4), 2000000)) == ()
    assert big_cores({}) == ()


def test_lists_are_written_as_people_do() -> None:
    assert cpu_list([4, 5, 6, 7]) == "4-7"
    assert cpu_list([0, 2, 3, 6]) == "0,2-3,6"
