// The body of data/jpeg.hpp, over libjpeg.
#include <mindgap/data/image_claim.hpp>
#include <mindgap/data/jpeg.hpp>

#include <array>
#include <csetjmp>
#include <cstdio>  // jpeglib.h wants FILE
#include <jerror.h>
#include <jpeglib.h>

namespace mindgap {

namespace detail {

// libjpeg's own handler ends the process: ours keeps the message and leaves by a jump. An exception must not cross C.
struct JpegErrors : jpeg_error_mgr {
  std::jmp_buf leave;
  char message[JMSG_LENGTH_MAX];

  JpegErrors() {
    jpeg_std_error(this);
    error_exit = [](j_common_ptr info) {
      JpegErrors& errors = static_cast<JpegErrors&>(*info->err);
      errors.format_message(info, errors.message);
      std::longjmp(errors.leave, 1);
    };
    output_message = [](j_common_ptr) {};
    // Where data are damaged or missing, libjpeg warns (a level below 0) and makes up pixels: to us it is an error. A revision of
    // JFIF that it does not know changes no pixel.
    emit_message = [](j_common_ptr info, int level) {
      if (level < 0 && info->err->msg_code != JWRN_JFIF_MAJOR) info->err->error_exit(info);
    };
  }
};

// libjpeg's own destination in memory loses it after an error: this one collects it in a string.
struct JpegString : jpeg_destination_mgr {
  std::string bytes;
  std::array<JOCTET, 1 << 14> buffer;

  JpegString() {
    init_destination = [](j_compress_ptr info) { of(info).rewind(); };
    empty_output_buffer = [](j_compress_ptr info) -> boolean {
      keep(info, of(info).buffer.size());
      of(info).rewind();
      return TRUE;
    };
    term_destination = [](j_compress_ptr info) { keep(info, of(info).buffer.size() - of(info).free_in_buffer); };
  }
  static JpegString& of(j_compress_ptr info) { return static_cast<JpegString&>(*info->dest); }
  void rewind() { next_output_byte = buffer.data(), free_in_buffer = buffer.size(); }
  static void keep(j_compress_ptr info, size_t count) {
    bool kept = true;
    try {
      of(info).bytes.append(reinterpret_cast<const char*>(of(info).buffer.data()), count);
    } catch (const std::bad_alloc&) {
      kept = false;
    }
    if (!kept) info->err->error_exit(reinterpret_cast<j_common_ptr>(info));
  }
};

// False where libjpeg refuses; errors.message says why. It has no object with a destructor, for libjpeg jumps out of it.
inline bool write_jpeg(JpegErrors& errors, JpegString& out, const u8* pixels, JDIMENSION h, JDIMENSION w, int channels,
                       int quality) {
  jpeg_compress_struct info{};
  info.err = &errors;
  if (setjmp(errors.leave)) {
    jpeg_destroy_compress(&info);
    return false;
  }
  jpeg_create_compress(&info);
  info.dest = &out;
  info.image_width = w;
  info.image_height = h;
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  for (int c = 0; c < info.num_components; ++c) info.comp_info[c].h_samp_factor = info.comp_info[c].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < h) {
    JSAMPROW row = const_cast<u8*>(pixels) + i64(info.next_scanline) * w * channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  return true;
}

// The header, and then, where pixels is given, [h, w, 3] of it. As above: no object with a destructor.
inline bool read_jpeg(JpegErrors& errors, std::string_view bytes, JDIMENSION& h, JDIMENSION& w, u8* pixels) {
  jpeg_decompress_struct info{};
  info.err = &errors;
  if (setjmp(errors.leave)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  h = info.image_height, w = info.image_width;
  if (pixels) {
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    while (info.output_scanline < h) {
      JSAMPROW row = pixels + i64(info.output_scanline) * w * 3;
      jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
  }
  jpeg_destroy_decompress(&info);
  return true;
}

}  // namespace detail

MINDGAP_INLINE Tensor<u8, 3, Cpu> decode_jpeg(std::string_view bytes, const std::string& file) {
  detail::JpegErrors errors;
  JDIMENSION h = 0, w = 0;
  const auto check = [&](bool good) {
    if (!good)
      throw Error(
          std::string("jpeg: ") + errors.message,
          {{"file", file}, {"remedy", "the file is damaged, no JPEG file, or not in RGB or grey: convert or copy it again"}});
  };
  check(detail::read_jpeg(errors, bytes, h, w, nullptr));
  detail::check_image_claim("jpeg", h, w, file);
  const Tensor<u8, 3, Cpu> out(Shape<3>(h, w, 3));
  check(detail::read_jpeg(errors, bytes, h, w, out.data()));
  return out;
}

MINDGAP_INLINE std::string encode_jpeg(const u8* pixels, i64 h, i64 w, i64 channels, int quality) {
  constexpr i64 largest = JPEG_MAX_DIMENSION;  // libjpeg's, a little less than the format's
  if (h < 1 || w < 1 || h > largest || w > largest || (channels != 1 && channels != 3))
    throw Error(text("jpeg: an image has extents of 1 to ", largest, " and 1 or 3 channels"),
                {{"image", Shape<3>(h, w, channels).str()}});
  if (quality < 1 || quality > 100) throw Error(text("jpeg: the quality is 1 to 100, not ", quality));
  detail::JpegErrors errors;
  detail::JpegString out;
  if (!detail::write_jpeg(errors, out, pixels, JDIMENSION(h), JDIMENSION(w), int(channels), quality))
    throw Error(std::string("jpeg: ") + errors.message, {{"image", Shape<3>(h, w, channels).str()}});
  return std::move(out.bytes);
}

}  // namespace mindgap
