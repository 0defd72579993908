import functools
import io
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from mm_face_stylizer.dataset import Dataset
from task_bundle.errors import FaceModelsError, ImageError, NoFaceError
from task_bundle.faces.alignment import FaceCrop, FaceFinder

# Greatest difference in gray levels, after smoothing, of two crops of one face, which lie a few
# pixels apart where the photo was mirrored, reduced or given a palette (4 to 12 here). Its mirror
# image, or a crop 60 pixels off, differs by more than 50.
LIKE = 20.0


@pytest.fixture
def from_image(face_models):
    return functools.partial(Dataset.from_image, face_models=face_models)


@pytest.fixture(scope="module")
def expected(grace_hopper_file, face_models):
    """The portrait's crop, as Dataset makes it."""
    return Dataset.from_image(grace_hopper_file, face_models=face_models).images[0]


@pytest.fixture
def two_faces(grace_hopper, tmp_path):
    """A small Grace Hopper on the left of a big one."""
    height, width = grace_hopper.shape[:2]
    small = np.full_like(grace_hopper, 255)
    small[:400, :341] = np.asarray(Image.fromarray(grace_hopper).resize((341, 400)))
    path = tmp_path / "two.png"
    Image.fromarray(np.concatenate([small[:, :341], grace_hopper], axis=1)).save(path)
    assert (height, width) == (600, 512)
    return path


def difference(one, other):
    """Mean difference of the means of 16 x 16 parts."""
    side = len(one) // 16
    one, other = (
        np.asarray(image, float).reshape(16, side, 16, side, 3).mean(axis=(1, 3))
        for image in (one, other)
    )
    return np.abs(one - other).mean()


def arrays(count, size=8):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def names(count):
    return [f"picture{i}" for i in range(count)]


class TestFromImage:
    def test_the_face_is_found_and_cut_out(self, from_image, grace_hopper_file, grace_hopper):
        data = from_image(str(grace_hopper_file))
        assert data.images.shape == (1, 256, 256, 3)
        assert data.images.dtype == np.uint8
        assert len(data) == data.size == data.num_classes == 1
        assert data.label_names == data.image_names == ["grace_hopper"]
        assert data.index_by_label == {"grace_hopper": 0}
        # An independent reading of where her face is, in pixels of the photo.
        read = FaceCrop(265, 200, 347, -0.05).crop(grace_hopper, 256)
        assert difference(data.images[0], read) < LIKE

    def test_it_is_the_crop_of_the_runtime(self, expected, grace_hopper, face_models):
        with FaceFinder(face_models) as finder:
            crop = finder.find(grace_hopper)[0].crop
        np.testing.assert_array_equal(expected, crop.crop(grace_hopper, 256))

    def test_arrays_and_pillow_images(self, from_image, grace_hopper, grace_hopper_file, expected):
        with Image.open(grace_hopper_file) as picture:
            for source, label in ((grace_hopper, "image"), (picture, "grace_hopper")):
                data = from_image(source)
                np.testing.assert_array_equal(data.images[0], expected)
                assert data.label_names == [label]
        assert repr(data) == "<Dataset: 1 image of 256 x 256 px: grace_hopper>"
        assert Image.open(io.BytesIO(data._repr_png_())).size == (256, 256)

    def test_the_side_of_the_crop_can_be_chosen(self, from_image, grace_hopper_file, expected):
        data = from_image(grace_hopper_file, size=64)
        assert data.images.shape == (1, 64, 64, 3)
        assert data.masks.shape == (1, 64, 64)
        with pytest.raises(ValueError, match="size is 0"):
            from_image(grace_hopper_file, size=0)

    @pytest.mark.parametrize("orientation", [3, 6, 8])
    def test_the_cameras_orientation_is_heeded(
        self, from_image, grace_hopper, expected, tmp_path, orientation
    ):
        stored = {3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "turned.png"
        Image.fromarray(grace_hopper).transpose(stored).save(path, exif=exif)
        np.testing.assert_array_equal(from_image(path).images[0], expected)

    def test_an_opaque_alpha_changes_nothing(self, from_image, grace_hopper, expected, tmp_path):
        path = tmp_path / "alpha.png"
        Image.fromarray(grace_hopper).convert("RGBA").save(path)
        np.testing.assert_array_equal(from_image(path).images[0], expected)

    def test_what_is_transparent_is_white(self, from_image, grace_hopper, expected, tmp_path):
        # Everything but the face is transparent, above what would else be black.
        photo = np.zeros((600, 512, 4), np.uint8)
        photo[60:340, 130:400, :3] = grace_hopper[60:340, 130:400]
        photo[60:340, 130:400, 3] = 255
        path = tmp_path / "cut-out.png"
        Image.fromarray(photo).save(path)
        image = from_image(path).images[0]
        assert image[:20, :20].min() == 255
        assert difference(image[96:160, 96:160], expected[96:160, 96:160]) < LIKE

    def test_palettes_are_converted(self, from_image, grace_hopper, expected, tmp_path):
        path = tmp_path / "palette.gif"
        Image.fromarray(grace_hopper).quantize(256).save(path)
        assert difference(from_image(path).images[0], expected) < LIKE

    def test_sixteen_bits_are_scaled(self, from_image, grace_hopper, tmp_path):
        gray = np.asarray(Image.fromarray(grace_hopper).convert("L"))
        shallow, deep = tmp_path / "shallow.png", tmp_path / "deep.png"
        Image.fromarray(gray).save(shallow)
        Image.fromarray(gray.astype(np.uint16) * 257).save(deep)
        assert Image.open(deep).mode.startswith("I")
        np.testing.assert_array_equal(from_image(deep).images, from_image(shallow).images)

    def test_a_photo_without_a_face_is_named(self, from_image, tmp_path):
        path = tmp_path / "wall.png"
        Image.new("RGB", (300, 300), (120, 130, 140)).save(path)
        with pytest.raises(NoFaceError, match="wall.png"):
            from_image(path)

    def test_a_file_that_cannot_be_read_is_named(self, from_image, grace_hopper_file, tmp_path):
        truncated = tmp_path / "truncated.jpg"
        truncated.write_bytes(grace_hopper_file.read_bytes()[:20000])
        text = tmp_path / "text.png"
        text.write_text("not a picture")
        for path in (truncated, text, tmp_path / "missing.jpg", tmp_path):
            with pytest.raises(ImageError) as caught:
                from_image(path)
            assert path.name in str(caught.value)
            assert not isinstance(caught.value, NoFaceError)

    def test_of_several_faces_the_biggest_is_taken_with_a_warning(
        self, from_image, two_faces, expected
    ):
        with pytest.warns(UserWarning, match="2 faces were found in .*two.png") as caught:
            data = from_image(two_faces)
        assert len(caught) == 1
        message = str(caught[0].message)
        assert "face_index 0 at x 60" in message
        assert "face_index 1 at x 17" in message
        assert caught[0].filename == __file__
        assert difference(data.images[0], expected) < LIKE

    def test_a_chosen_face_is_taken_without_one(self, from_image, two_faces, expected):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            big, small = (from_image(two_faces, face_index=i).images[0] for i in (0, 1))
        assert difference(big, expected) < LIKE
        assert difference(small, expected) < LIKE
        # Magnified, and so less sharp.
        sharpness = [np.diff(image.astype(int), axis=0).std() for image in (small, big)]
        assert sharpness[0] < 0.9 * sharpness[1]

    @pytest.mark.parametrize("face_index", [2, -1])
    def test_a_face_that_is_not_there(self, from_image, two_faces, face_index):
        with pytest.raises(
            ValueError, match=rf"face_index is {face_index}; in .*two\.png .* 2 face"
        ):
            from_image(two_faces, face_index=face_index)

    def test_models_are_found_where_they_always_are(self, grace_hopper_file, expected, tmp_path):
        try:
            data = Dataset.from_image(grace_hopper_file)
        except FaceModelsError:
            pytest.skip("this mediapipe carries no face models")
        assert difference(data.images[0], expected) < LIKE


class TestMasks:
    def test_a_crop_within_the_photo_is_all_photo(self, from_image, grace_hopper_file):
        data = from_image(grace_hopper_file)
        assert data.masks.dtype == bool
        assert data.masks.all()

    @pytest.mark.parametrize(
        ("rows", "columns", "corner"),
        [
            (slice(100, None), slice(None), (0, 0)),
            (slice(None, 330), slice(None), (-1, 0)),
            (slice(None), slice(140, None), (0, 0)),
            (slice(None), slice(None, 380), (0, -1)),
        ],
        ids=["top", "bottom", "left", "right"],
    )
    def test_the_black_border_is_left_out(
        self, from_image, grace_hopper, tmp_path, rows, columns, corner
    ):
        photo = grace_hopper[rows, columns]
        path = tmp_path / "near-the-edge.png"
        # Nowhere black, so that black is border.
        Image.fromarray(np.maximum(photo, 40)).save(path)
        data = from_image(path)
        image, mask = data.images[0], data.masks[0]
        assert 0.5 < mask.mean() < 0.95
        assert image[mask].min() >= 40
        # Between the two only the row of pixels that are part photo, part border.
        border = (image == 0).all(axis=-1)
        assert border.mean() > 0.03
        assert (~mask & ~border).mean() < 0.02
        assert mask[128, 128] and not mask[corner]
        assert border[corner]


class TestFromImages:
    def test_order_and_names(self, grace_hopper_file, grace_hopper, face_models, tmp_path):
        mirrored = tmp_path / "a.png"
        Image.fromarray(grace_hopper[:, ::-1]).save(mirrored)
        copy = tmp_path / "grace_hopper.jpg"
        shutil.copy(grace_hopper_file, copy)
        data = Dataset.from_images(
            [grace_hopper_file, str(mirrored), copy], face_models=face_models
        )
        assert len(data) == 3
        assert data.label_names == ["grace_hopper", "a", "grace_hopper-2"]
        np.testing.assert_array_equal(data.images[0], data.images[2])
        assert difference(data.images[0][:, ::-1], data.images[1]) < LIKE
        assert difference(data.images[0], data.images[1]) > LIKE

    def test_face_indices(self, grace_hopper_file, two_faces, face_models):
        data = Dataset.from_images(
            [grace_hopper_file, two_faces], face_indices=[None, 1], face_models=face_models
        )
        one = Dataset.from_image(two_faces, face_index=1, face_models=face_models)
        np.testing.assert_array_equal(data.images[1], one.images[0])
        with pytest.raises(ValueError, match="1 face_indices for 2 filenames"):
            Dataset.from_images([grace_hopper_file, two_faces], face_indices=[0])

    def test_the_one_without_a_face_is_named(self, grace_hopper_file, face_models, tmp_path):
        wall = tmp_path / "wall.png"
        Image.new("RGB", (300, 300)).save(wall)
        with pytest.raises(NoFaceError, match="wall.png"):
            Dataset.from_images([grace_hopper_file, wall], face_models=face_models)

    def test_none_or_one_path_is_refused(self, grace_hopper_file):
        with pytest.raises(ValueError, match="filenames is empty"):
            Dataset.from_images([])
        for path in (grace_hopper_file, str(grace_hopper_file)):
            with pytest.raises(ValueError, match="must be a list of images"):
                Dataset.from_images(path)


class TestFromFolder:
    def test_pictures_sorted_and_nothing_else(
        self, grace_hopper_file, grace_hopper, face_models, tmp_path, caplog
    ):
        shutil.copy(grace_hopper_file, tmp_path / "d.jpeg")
        shutil.copy(grace_hopper_file, tmp_path / "b.JPG")
        shutil.copy(grace_hopper_file, tmp_path / "c.jfif")
        Image.fromarray(grace_hopper[:, ::-1]).save(tmp_path / "a.png")
        (tmp_path / "notes.txt").write_text("not a picture")
        (tmp_path / "._a.png").write_text("what macOS leaves behind")
        (tmp_path / "folder.png").mkdir()
        data = Dataset.from_folder(tmp_path, face_models=face_models, size=64)
        assert data.image_names == ["a", "b", "c", "d"]
        assert data.images.shape == (4, 64, 64, 3)
        assert difference(data.images[0][:, ::-1], data.images[1]) < LIKE
        assert [m.partition("read: ")[2] for m in caplog.messages] == ["folder.png/, notes.txt"]

    def test_a_folder_without_pictures(self, tmp_path):
        (tmp_path / "notes.txt").write_text("not a picture")
        with pytest.raises(ImageError, match=rf"{tmp_path.name} has no images \(.*\.png"):
            Dataset.from_folder(tmp_path)

    def test_a_missing_folder_is_named(self, tmp_path, grace_hopper_file):
        with pytest.raises(ImageError, match="nowhere does not exist"):
            Dataset.from_folder(tmp_path / "nowhere")
        with pytest.raises(ImageError, match="grace_hopper.jpg is not a folder"):
            Dataset.from_folder(grace_hopper_file)


class TestFromArrays:
    def test_copies_that_cannot_be_written_to(self):
        images, masks = arrays(2), np.zeros((2, 8, 8), bool)
        data = Dataset.from_arrays(images, names(2), masks)
        before = images.copy()
        images[:], masks[:] = 0, True
        np.testing.assert_array_equal(data.images, before)
        assert not data.masks.any()
        for array in (data.images, data.masks):
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 1

    def test_all_is_photo_by_default(self):
        masks = Dataset.from_arrays(arrays(2), names(2)).masks
        assert masks.shape == (2, 8, 8)
        assert masks.all()

    @pytest.mark.parametrize(
        "images",
        [
            arrays(1)[0],
            arrays(1)[:, :4],
            arrays(1)[..., :1],
            arrays(1)[:0],
            arrays(1) / 255.0,
            arrays(1).astype(np.int32),
        ],
    )
    def test_wrong_images(self, images):
        with pytest.raises(ValueError, match="^images "):
            Dataset.from_arrays(images, names(1))

    @pytest.mark.parametrize("wrong", [["a"], ["a", "b", "c"], "ab", ["a", "a"]])
    def test_wrong_names(self, wrong):
        with pytest.raises(ValueError, match="^names "):
            Dataset.from_arrays(arrays(2), wrong)

    @pytest.mark.parametrize("masks", [np.ones((2, 8, 8)), np.ones((1, 8, 8), bool), [True]])
    def test_wrong_masks(self, masks):
        with pytest.raises(ValueError, match="^masks "):
            Dataset.from_arrays(arrays(2), names(2), masks)


class TestGenTfDataset:
    def test_batches_of_image_and_label(self):
        images = arrays(5)
        dataset = Dataset.from_arrays(images, names(5)).gen_tf_dataset(batch_size=2)
        batches = list(dataset.as_numpy_iterator())
        assert [len(batch[0]) for batch in batches] == [2, 2, 1]
        assert batches[0][0].dtype == np.uint8
        assert batches[0][1].dtype == np.int64
        np.testing.assert_array_equal(np.concatenate([b[0] for b in batches]), images)
        np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), np.arange(5))

    def test_one_picture_a_batch_by_default(self):
        dataset = Dataset.from_arrays(arrays(3), names(3)).gen_tf_dataset()
        assert [batch[0].shape for batch in dataset.as_numpy_iterator()] == [(1, 8, 8, 3)] * 3

    def test_drop_remainder(self):
        dataset = Dataset.from_arrays(arrays(5), names(5)).gen_tf_dataset(2, drop_remainder=True)
        assert [len(batch[0]) for batch in dataset.as_numpy_iterator()] == [2, 2]
        assert dataset.element_spec[0].shape.as_list() == [2, 8, 8, 3]

    @pytest.mark.parametrize("is_training", [False, True])
    def test_preprocess(self, is_training):
        seen = []

        def preprocess(image, label, is_training):
            seen.append((image.shape.as_list(), is_training))
            return 255 - image, label + 7

        images = arrays(2)
        data = Dataset.from_arrays(images, names(2))
        dataset = data.gen_tf_dataset(2, is_training=is_training, preprocess=preprocess)
        image, label = next(dataset.as_numpy_iterator())
        assert seen == [([8, 8, 3], is_training)]
        np.testing.assert_array_equal(image, 255 - images)
        np.testing.assert_array_equal(label, [7, 8])

    def test_shuffling_is_for_training_and_the_same_every_time(self):
        data = Dataset.from_arrays(arrays(40), names(40))

        def order(**kwargs):
            return np.concatenate(
                [label for _, label in data.gen_tf_dataset(**kwargs).as_numpy_iterator()]
            ).tolist()

        first = order(shuffle=True, is_training=True)
        assert first != list(range(40))
        assert sorted(first) == list(range(40))
        assert order(shuffle=True, is_training=True) == first
        assert order(shuffle=True) == order(is_training=True) == list(range(40))

    def test_wrong_batch_size(self):
        with pytest.raises(ValueError, match="batch_size is 0"):
            Dataset.from_arrays(arrays(1), names(1)).gen_tf_dataset(0)

    def test_tensorflow_is_imported_here_and_not_before(self, tmp_path):
        code = (
            "import sys, numpy as np; from mm_face_stylizer import Dataset;"
            "data = Dataset.from_arrays(np.zeros((1, 8, 8, 3), np.uint8), ['a']);"
            "data.images, data.masks, data.image_names;"
            "assert 'tensorflow' not in sys.modules;"
            # To import it takes seconds: that it is asked for will do.
            "sys.modules['tensorflow'] = None;"
            "data.gen_tf_dataset()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "import of tensorflow halted" in done.stderr.splitlines()[-1]


class TestWrappedTfDataset:
    def test_pairs_of_image_and_label_are_taken(self):
        from mm_face_stylizer._keras import tf

        images = arrays(3)
        pairs = tf.data.Dataset.from_tensor_slices((images, np.array([1, 0, 1])))
        data = Dataset(dataset=pairs, label_names=["a", "b"], size=3)
        assert len(data) == 3
        assert data.num_classes == 2
        assert data.image_names == ["b", "a", "b"]
        np.testing.assert_array_equal(data.images, images)
        assert data.masks.shape == (3, 8, 8) and data.masks.all()
        batch = next(data.gen_tf_dataset(3).as_numpy_iterator())
        np.testing.assert_array_equal(batch[1], [1, 0, 1])

    def test_lone_pictures_of_any_number_type(self):
        # What Model Maker's FaceStylizer.stylize gives.
        from mm_face_stylizer._keras import tf

        values = np.full((2, 8, 8, 3), 254.7, np.float32)
        values[0], values[1, 0] = -3.0, 300.0
        data = Dataset(tf.data.Dataset.from_tensor_slices(values), ["stylized"])
        assert data.size == 2
        assert data.images.dtype == np.uint8
        assert data.images[0].max() == 0 and data.images[1].min() == 255
        assert data.image_names == ["stylized", "stylized"]
        batch = next(data.gen_tf_dataset().as_numpy_iterator())
        np.testing.assert_array_equal(batch, values[:1])

    def test_the_number_of_pictures_is_heeded_where_there_is_no_end(self):
        from mm_face_stylizer._keras import tf

        endless = tf.data.Dataset.from_tensor_slices(arrays(2)).repeat()
        assert Dataset(endless, ["a"], size=3).images.shape[0] == 3
        with pytest.raises(TypeError):
            len(Dataset(endless, ["a"]))

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match="label_names is 'a'"):
            Dataset(None, "a", 1)
        with pytest.raises(ValueError, match="size is -1"):
            Dataset(None, ["a"], -1)


class TestSplit:
    def test_parts_keep_labels_and_masks(self):
        images, masks = arrays(5), np.zeros((5, 8, 8), bool)
        masks[3:] = True
        first, second = Dataset.from_arrays(images, names(5), masks).split(0.7)
        assert (len(first), len(second)) == (3, 2)
        np.testing.assert_array_equal(np.concatenate([first.images, second.images]), images)
        assert not first.masks.any() and second.masks.all()
        assert first.label_names == second.label_names == names(5)
        assert second.image_names == ["picture3", "picture4"]
        labels = [label.item() for _, label in second.gen_tf_dataset().as_numpy_iterator()]
        assert labels == [3, 4]

    def test_of_a_wrapped_tf_dataset(self):
        from mm_face_stylizer._keras import tf

        images = arrays(4)
        data = Dataset(tf.data.Dataset.from_tensor_slices((images, [0] * 4)), ["a"], 4)
        first, second = data.split(0.25)
        np.testing.assert_array_equal(first.images, images[:1])
        np.testing.assert_array_equal(second.images, images[1:])

    @pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan")])
    def test_wrong_fraction(self, fraction):
        with pytest.raises(ValueError, match="fraction is"):
            Dataset.from_arrays(arrays(4), names(4)).split(fraction)

    @pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (4, 0.1)])
    def test_no_part_may_be_empty(self, count, fraction):
        with pytest.raises(ValueError, match="one part would be empty"):
            Dataset.from_arrays(arrays(count), names(count)).split(fraction)


def test_landmarks_lie_where_the_crop_has_the_face(from_image, grace_hopper_file, face_models):
    dataset = from_image(grace_hopper_file, size=128)
    assert dataset.landmarks.shape == (1, 468, 2) and dataset.landmarks.dtype == np.float32
    with FaceFinder(face_models) as finder:
        (again,) = finder.find(np.pad(dataset.images[0], ((32, 32), (32, 32), (0, 0))))
    found = again.landmarks[:468, :2] - 32
    assert np.linalg.norm(found - dataset.landmarks[0], axis=1).mean() < 3.0


def test_arrays_have_no_landmarks_and_parts_of_files_keep_theirs(from_image, grace_hopper_file):
    assert Dataset.from_arrays(arrays(2), names(2)).landmarks is None
    both = Dataset.from_images([grace_hopper_file] * 2)
    first, second = both.split(0.5)
    np.testing.assert_array_equal(first.landmarks, both.landmarks[:1])
    np.testing.assert_array_equal(second.landmarks, both.landmarks[1:])
