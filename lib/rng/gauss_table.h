/* Coefficients of the Gaussian quantile: see noise.h.  Made by gauss_table.py with numpy 2.4.6,
 * Python 3.11.7: do not edit.
 *
 * Row d: the coefficients of m^d of all octaves.  Column (k + 127) % 32: octave k of |s|, that is
 * the low five bits of the exponent of |s| as f32; column 30 is 2^31, to which the largest |s|
 * round.  Errors against the exact quantile move the second, fourth and sixth moments by
 * 9e-08, 3e-07 and 2e-06.
 *
 *    k   |z|                error     of the distribution function
 *   30   0.0000 .. 0.6745   4.3e-06   1.7e-06
 *   29   0.6745 .. 1.1503   3.6e-06   1.1e-06
 *   28   1.1503 .. 1.5341   3.4e-06   6.8e-07
 *   27   1.5341 .. 1.8627   3.1e-06   3.8e-07
 *   26   1.8627 .. 2.1539   2.9e-06   2.0e-07
 *   25   2.1539 .. 2.4176   2.9e-06   1.1e-07
 *   24   2.4176 .. 2.6601   2.8e-06   5.9e-08
 *   23   2.6601 .. 2.8856   2.6e-06   2.9e-08
 *   22   2.8856 .. 3.0973   2.5e-06   1.5e-08
 *   21   3.0973 .. 3.2972   2.4e-06   7.6e-09
 *   20   3.2972 .. 3.4871   2.2e-06   3.8e-09
 *   19   3.4871 .. 3.6683   2.2e-06   2.0e-09
 *   18   3.6683 .. 3.8419   2.2e-06   9.8e-10
 *   17   3.8419 .. 4.0088   2.3e-06   5.6e-10
 *   16   4.0088 .. 4.1696   2.2e-06   2.8e-10
 *   15   4.1696 .. 4.3249   2.1e-06   1.3e-10
 *   14   4.3249 .. 4.4753   2.1e-06   6.9e-11
 *   13   4.4753 .. 4.6212   2.1e-06   3.4e-11
 *   12   4.6213 .. 4.7630   2.0e-06   1.7e-11
 *   11   4.7631 .. 4.9009   1.9e-06   8.0e-12
 *   10   4.9011 .. 5.0352   1.9e-06   4.2e-12
 *    9   5.0356 .. 5.1662   1.8e-06   2.0e-12
 *    8   5.1669 .. 5.2940   1.9e-06   1.1e-12
 *    7   5.2954 .. 5.4186   1.7e-06   5.3e-13
 *    6   5.4214 .. 5.5399   1.7e-06   2.3e-13
 *    5   5.5454 .. 5.6574   1.6e-06   1.2e-13
 *    4   5.6681 .. 5.7702   1.5e-06   4.8e-14
 *    3   5.7913 .. 5.8765   6.4e-07   1.3e-14
 *    2   5.9180 .. 5.9731   1.3e-06   1.3e-14
 *    1   6.0558 .. 6.0558   1.5e-06   6.3e-15
 *    0   6.2303 .. 6.2303   1.2e-06   1.8e-15
 */
#ifndef ZF_RNG_GAUSS_TABLE_H
#define ZF_RNG_GAUSS_TABLE_H

enum { ZF_GAUSS_DEGREE = 5 };

/* clang-format off */
static const float zf_gauss_table[ZF_GAUSS_DEGREE + 1][32] = {
  {
    0x1.9b3b7ep+2f, 0x1.946fcp+2f, 0x1.8d87b8p+2f, 0x1.868202p+2f,
    0x1.7f5d16p+2f, 0x1.78175p+2f, 0x1.70aee2p+2f, 0x1.6921d6p+2f,
    0x1.616e02p+2f, 0x1.599108p+2f, 0x1.518848p+2f, 0x1.4950dap+2f,
    0x1.40e782p+2f, 0x1.3848a2p+2f, 0x1.2f7026p+2f, 0x1.265974p+2f,
    0x1.1cff54p+2f, 0x1.135bcap+2f, 0x1.0967f2p+2f, 0x1.fe379ap+1f,
    0x1.e8dbfcp+1f, 0x1.d2a6fp+1f, 0x1.bb7e16p+1f, 0x1.a341a6p+1f,
    0x1.89caep+1f, 0x1.6ee9f2p+1f, 0x1.52633ep+1f, 0x1.33ebbap+1f,
    0x1.1324cep+1f, 0x1.df419ap+0f, 0x1.40d932p-26f, 0x1.a1ec3ep+2f,
  },
  {
    -0x1.194d78p-1f, -0x1.1e08d2p-1f, -0x1.230268p-1f, -0x1.283fbp-1f,
    -0x1.2dc6d2p-1f, -0x1.339ec2p-1f, -0x1.39cf68p-1f, -0x1.4061cap-1f,
    -0x1.47604p-1f, -0x1.4ed6bap-1f, -0x1.56d312p-1f, -0x1.5f6572p-1f,
    -0x1.68a0dap-1f, -0x1.729bcep-1f, -0x1.7d7136p-1f, -0x1.89417cp-1f,
    -0x1.96341cp-1f, -0x1.a479b2p-1f, -0x1.b44eep-1f, -0x1.c6004ep-1f,
    -0x1.d9f07cp-1f, -0x1.f0a044p-1f, -0x1.055ddcp+0f, -0x1.149714p+0f,
    -0x1.26a12ap+0f, -0x1.3c6c2p+0f, -0x1.57616ep+0f, -0x1.79b958p+0f,
    -0x1.a71f74p+0f, -0x1.e66756p+0f, 0x0p+0f, -0x1.14cb7cp-1f,
  },
  {
    0x1.838706p-2f, 0x1.89e0a8p-2f, 0x1.908b6ap-2f, 0x1.978e36p-2f,
    0x1.9ef0c6p-2f, 0x1.a6bbd2p-2f, 0x1.aef93p-2f, 0x1.b7b41p-2f,
    0x1.c0f932p-2f, 0x1.cad736p-2f, 0x1.d55ef2p-2f, 0x1.e0a3ecp-2f,
    0x1.ecbcep-2f, 0x1.f9c48p-2f, 0x1.03ed2ap-1f, 0x1.0b91f6p-1f,
    0x1.13e72ap-1f, 0x1.1d0812p-1f, 0x1.271608p-1f, 0x1.323a42p-1f,
    0x1.3ea832p-1f, 0x1.4ca0bep-1f, 0x1.5c76b4p-1f, 0x1.6e94ap-1f,
    0x1.838426p-1f, 0x1.9bf5a2p-1f, 0x1.b8c1cap-1f, 0x1.dacd76p-1f,
    0x1.013e74p+0f, 0x1.17af16p+0f, 0x0p+0f, 0x1.7d785ep-2f,
  },
  {
    -0x1.62a454p-3f, -0x1.6867fep-3f, -0x1.6e74bp-3f, -0x1.74d08ep-3f,
    -0x1.7b827cp-3f, -0x1.82923ep-3f, -0x1.8a0892p-3f, -0x1.91ef64p-3f,
    -0x1.9a5206p-3f, -0x1.a33d66p-3f, -0x1.acc068p-3f, -0x1.b6ec42p-3f,
    -0x1.c1d4fap-3f, -0x1.cd9208p-3f, -0x1.da3f0ep-3f, -0x1.e7fce2p-3f,
    -0x1.f6f2d2p-3f, -0x1.03a82ap-2f, -0x1.0ca79ep-2f, -0x1.169b6p-2f,
    -0x1.21afb6p-2f, -0x1.2e1c5p-2f, -0x1.3c2808p-2f, -0x1.4c2df8p-2f,
    -0x1.5ea46p-2f, -0x1.7425bp-2f, -0x1.8d7bbcp-2f, -0x1.abaf9ep-2f,
    -0x1.d0486ap-2f, -0x1.0190e8p-1f, 0x0p+0f, -0x1.5d242ep-3f,
  },
  {
    0x1.6992d2p-5f, 0x1.6f6d68p-5f, 0x1.7591d8p-5f, 0x1.7c0654p-5f,
    0x1.82d1cep-5f, 0x1.89fc1p-5f, 0x1.918de8p-5f, 0x1.99914ep-5f,
    0x1.a211ap-5f, 0x1.ab1bd8p-5f, 0x1.b4bee4p-5f, 0x1.bf0c04p-5f,
    0x1.ca1744p-5f, 0x1.d5f81ap-5f, 0x1.e2ca26p-5f, 0x1.f0ae2ep-5f,
    0x1.ffcb5ep-5f, 0x1.08287cp-4f, 0x1.113c4p-4f, 0x1.1b444cp-4f,
    0x1.266c86p-4f, 0x1.32ec08p-4f, 0x1.4108ccp-4f, 0x1.511cbp-4f,
    0x1.639c3ep-4f, 0x1.791f9p-4f, 0x1.926d04p-4f, 0x1.b082b2p-4f,
    0x1.d49aap-4f, 0x1.041952p-3f, 0x0p+0f, 0x1.63fc8cp-5f,
  },
  {
    -0x1.373d9ep-8f, -0x1.3c4494p-8f, -0x1.418ad2p-8f, -0x1.4715a2p-8f,
    -0x1.4ceaeep-8f, -0x1.531162p-8f, -0x1.59908p-8f, -0x1.6070cep-8f,
    -0x1.67bbfap-8f, -0x1.6f7d18p-8f, -0x1.77c0e2p-8f, -0x1.80960ap-8f,
    -0x1.8a0da4p-8f, -0x1.943baap-8f, -0x1.9f379ap-8f, -0x1.ab1d5p-8f,
    -0x1.b80e1cp-8f, -0x1.c63216p-8f, -0x1.d5ba0ap-8f, -0x1.e6e1dcp-8f,
    -0x1.f9f3e2p-8f, -0x1.07a6acp-7f, -0x1.13b246p-7f, -0x1.2168a6p-7f,
    -0x1.312c26p-7f, -0x1.437d22p-7f, -0x1.590348p-7f, -0x1.72983cp-7f,
    -0x1.918cb4p-7f, -0x1.cc790ep-7f, 0x0p+0f, -0x1.32712ep-8f,
  },
};
/* clang-format on */

#endif
