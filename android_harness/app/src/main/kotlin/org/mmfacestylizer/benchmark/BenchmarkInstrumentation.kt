package org.mmfacestylizer.benchmark

import android.app.Activity
import android.app.Instrumentation
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.os.Bundle
import android.os.SystemClock
import android.util.Base64
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.framework.image.ByteBufferExtractor
import com.google.mediapipe.framework.image.MPImage
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.core.Delegate
import com.google.mediapipe.tasks.vision.facestylizer.FaceStylizer
import com.google.mediapipe.tasks.vision.facestylizer.FaceStylizer.FaceStylizerOptions
import java.io.FileInputStream
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel
import org.json.JSONArray
import org.json.JSONObject

/**
 * Times Google's FaceStylizer on one photo. README.md describes its arguments and its result line.
 *
 * It runs on Instrumentation's own thread, so that the main thread stays responsive and Android
 * does not report the app as not responding.
 */
class BenchmarkInstrumentation : Instrumentation() {
    private var arguments = Bundle()

    override fun onCreate(arguments: Bundle?) {
        super.onCreate(arguments)
        this.arguments = arguments ?: Bundle()
        start()
    }

    override fun onStart() {
        super.onStart()
        val results = Bundle()
        // Throwable includes the Errors for native libraries that cannot be loaded.
        val code =
            try {
                results.putString("result", measure().toString())
                Activity.RESULT_OK
            } catch (error: Throwable) {
                results.putString("error", error.toString().replace('\n', ' '))
                Activity.RESULT_CANCELED
            }
        finish(code, results)
    }

    private fun measure(): JSONObject {
        val image = BitmapImageBuilder(photo(argument("photo"))).build()
        val delegate =
            when (val name = argument("delegate")) {
                "cpu" -> Delegate.CPU
                "gpu" -> Delegate.GPU
                else -> error("delegate is '$name'; it must be 'cpu' or 'gpu'")
            }
        val base =
            BaseOptions.builder()
                .setModelAssetBuffer(mapped(argument("bundle")))
                .setDelegate(delegate)
                .build()
        val options = FaceStylizerOptions.builder().setBaseOptions(base).build()
        val runs = argument("runs").toInt()

        val created = SystemClock.elapsedRealtimeNanos()
        return FaceStylizer.createFromOptions(targetContext, options).use { stylizer ->
            val creation = millisecondsSince(created)
            val (first, _) = stylize(stylizer, image)
            repeat(WARM_UP_CALLS) { stylize(stylizer, image) }
            val samples = JSONArray()
            var picture: MPImage? = null
            repeat(runs) {
                val (milliseconds, stylized) = stylize(stylizer, image)
                samples.put(milliseconds)
                picture = stylized
            }
            JSONObject()
                .put("version", RESULT_VERSION)
                .put("library", BuildConfig.TASKS_VISION)
                .put("creation_ms", creation)
                .put("first_call_ms", first)
                .put("samples_ms", samples)
                .put("thumbnail", thumbnail(checkNotNull(picture) { "runs must be at least 1" }))
        }
    }

    /** Returns the milliseconds of one call, and a copy of the stylized face. */
    private fun stylize(stylizer: FaceStylizer, image: MPImage): Pair<Double, MPImage> {
        val began = SystemClock.elapsedRealtimeNanos()
        val stylized = stylizer.stylize(image).stylizedImage()
        val milliseconds = millisecondsSince(began)
        check(stylized.isPresent) { "no face was found in the photo" }
        return Pair(milliseconds, stylized.get())
    }

    private fun argument(name: String): String =
        checkNotNull(arguments.getString(name)) { "the argument -e $name VALUE is missing" }

    private companion object {
        const val RESULT_VERSION = 1
        const val WARM_UP_CALLS = 5
        const val THUMBNAIL_SIDE = 32

        fun millisecondsSince(began: Long): Double =
            (SystemClock.elapsedRealtimeNanos() - began) / 1e6

        fun mapped(path: String): MappedByteBuffer =
            FileInputStream(path).channel.use { channel ->
                channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size())
            }

        fun photo(path: String): Bitmap {
            val options = BitmapFactory.Options()
            options.inPreferredConfig = Bitmap.Config.ARGB_8888
            options.inScaled = false
            return checkNotNull(BitmapFactory.decodeFile(path, options)) { "$path is not a picture" }
        }

        /** Returns block means of a square picture, rounded down: 32 x 32 x RGB bytes in Base64. */
        fun thumbnail(picture: MPImage): String {
            val side = picture.width
            check(picture.height == side && side % THUMBNAIL_SIDE == 0) {
                "the stylized picture has ${picture.width} x ${picture.height} pixels; only squares" +
                    " whose side is a multiple of $THUMBNAIL_SIDE are compared"
            }
            val pixels = ByteBufferExtractor.extract(picture)
            val channels = pixels.capacity() / (side * side) // RGB, or RGBA.
            val block = side / THUMBNAIL_SIDE
            val means = ByteArray(THUMBNAIL_SIDE * THUMBNAIL_SIDE * 3)
            for (index in means.indices) {
                val channel = index % 3
                val left = index / 3 % THUMBNAIL_SIDE * block
                val top = index / 3 / THUMBNAIL_SIDE * block
                var sum = 0
                for (y in top until top + block) {
                    for (x in left until left + block) {
                        sum += pixels.get((y * side + x) * channels + channel).toInt() and 0xFF
                    }
                }
                means[index] = (sum / (block * block)).toByte()
            }
            return Base64.encodeToString(means, Base64.NO_WRAP)
        }
    }
}
