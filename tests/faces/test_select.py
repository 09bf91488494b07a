import numpy as np
import pytest

from sparnet.errors import NoFaceFound
from sparnet.faces.detect import Face
from sparnet.faces.select import parse_numbers, select_faces

PHOTO_SIZE = (1000, 600)


def face(x, y, size):
    box = (float(x), float(y), float(x + size), float(y + size))
    return Face(box, 0.9, np.zeros((5, 2)))


FACES = [face(10, 10, 200), face(460, 260, 80), face(700, 300, 60), face(480, 20, 20)]


def numbers(selection):
    return [item.number for item in selection.chosen]


def reasons(selection):
    return {item.number: item.reason for item in selection.skipped}


def test_without_a_rule_every_face_is_chosen():
    selection = select_faces(FACES, PHOTO_SIZE)
    assert numbers(selection) == [1, 2, 3, 4]
    assert [item.face for item in selection.chosen] == FACES
    assert selection.skipped == ()


def test_a_photo_without_faces_is_no_error():
    selection = select_faces([], PHOTO_SIZE, only_center_face=True, max_faces=2, min_face_px=40)
    assert (selection.chosen, selection.skipped) == ((), ())


def test_small_faces_are_skipped_and_the_size_is_told():
    selection = select_faces(FACES, PHOTO_SIZE, min_face_px=60)
    assert numbers(selection) == [1, 2, 3]
    assert reasons(selection) == {4: "20 px, smaller than 60 px"}


def test_the_face_nearest_to_the_middle_is_chosen():
    selection = select_faces(FACES, PHOTO_SIZE, only_center_face=True)
    assert numbers(selection) == [2]
    assert set(reasons(selection).values()) == {"not the face nearest to the middle"}


def test_the_largest_faces_are_chosen_in_any_order_of_the_list():
    assert numbers(select_faces(FACES, PHOTO_SIZE, max_faces=2)) == [1, 2]
    selection = select_faces(FACES[::-1], PHOTO_SIZE, max_faces=2)
    assert numbers(selection) == [3, 4]
    assert reasons(selection)[1] == "not among the 2 largest"


def test_of_equal_faces_the_first_are_chosen():
    assert numbers(select_faces([face(i * 50, 0, 40) for i in range(4)], PHOTO_SIZE, max_faces=2)) == [1, 2]


def test_faces_can_be_named():
    selection = select_faces(FACES, PHOTO_SIZE, numbers=[3, 1])
    assert numbers(selection) == [1, 3]
    assert reasons(selection)[2] == "not among the faces asked for (3,1)"


def test_rules_apply_one_after_another():
    selection = select_faces(
        FACES, PHOTO_SIZE, numbers=[1, 3, 4], min_face_px=30, only_center_face=True, max_faces=1
    )
    assert numbers(selection) == [3]
    assert list(reasons(selection)) == [1, 2, 4]
    assert len(selection.skipped) + len(selection.chosen) == len(FACES)


@pytest.mark.parametrize(("count", "shown"), [(0, "no face"), (1, "1 face"), (2, "2 faces")])
def test_a_face_that_is_not_there_is_told(count, shown):
    with pytest.raises(NoFaceFound, match=f"^face 3 was asked for, the photo shows {shown}$"):
        select_faces(FACES[:count], PHOTO_SIZE, numbers=[3])


def test_numbers_start_at_one():
    with pytest.raises(ValueError, match="faces are numbered from 1, got 0"):
        select_faces(FACES, PHOTO_SIZE, numbers=[0])
    with pytest.raises(ValueError, match="max_faces must be 1 or more, got 0"):
        select_faces(FACES, PHOTO_SIZE, max_faces=0)


def test_numbers_are_read_as_a_user_writes_them():
    assert parse_numbers("1,3") == (1, 3)
    assert parse_numbers(" 2 , 2,1 ") == (2, 1)


@pytest.mark.parametrize("text", ["", "1,", "0", "-1", "a", "1.5", "²"])
def test_what_is_no_list_of_numbers_is_refused(text):
    with pytest.raises(ValueError, match="expected numbers of faces from 1, as in 1,3, got"):
        parse_numbers(text)
