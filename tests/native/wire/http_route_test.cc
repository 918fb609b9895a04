#include <string>

#include "csrc/wire/http_head.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

HttpHead post(std::string_view path) {
  HttpHead head;
  head.method = HttpMethod::kPost;
  head.target = head.path = path;
  return head;
}

}  // namespace

TEST(http_route_of_inference) {
  const struct {
    const char* path;
    const char* model;
    const char* version;
  } rows[] = {
      {"/v2/models/m/infer", "m", ""},
      {"/v2/models/m/versions/1/infer", "m", "1"},
      {"/v2/models/minilm@int8/versions/stable/infer", "minilm@int8", "stable"},
      {"/v2/models/versions/infer", "versions", ""},
      {"/v2/models/versions/versions/versions/infer", "versions", "versions"},
      {"/v2/models/infer/infer", "infer", ""},
      {"/v2/models/.../infer", "...", ""},
      {"/v2/models/a%20b/infer", "a b", ""},
      {"/v2/models/%41%2e%2D/infer", "A.-", ""},
      {"/v2/models/m/versions/%31/infer", "m", "1"},
      {"/v2/models/a%25%34%31/versions/x%25/infer", "a%41", "x%"},  // decoded once
      {"/v2/models/%C3%A9%e2%82%ac%F0%9F%98%80/infer", "\u00e9\u20ac\U0001f600", ""},
  };
  for (const auto& row : rows) {
    std::string decoded = "of an earlier request";
    Route route;
    const ProblemPtr problem = match_route(post(row.path), decoded, route);
    EXPECT(problem == nullptr);
    EXPECT_EQ(static_cast<int>(route.kind), static_cast<int>(RouteKind::kInfer));
    EXPECT_EQ(route.model, row.model);
    EXPECT_EQ(route.version, row.version);
  }
}

TEST(http_route_of_the_longest_name) {
  std::string decoded;
  Route route;
  const std::string name(255, 'n');
  const std::string path = "/v2/models/" + name + "/infer";
  EXPECT(match_route(post(path), decoded, route) == nullptr);
  EXPECT_EQ(route.model, name);
  std::string encoded;
  for (int i = 0; i < 255; ++i) encoded += "%6e";
  const std::string encoded_path = "/v2/models/" + encoded + "/versions/" + encoded + "/infer";
  EXPECT(match_route(post(encoded_path), decoded, route) == nullptr);
  EXPECT_EQ(route.model, name);
  EXPECT_EQ(route.version, name);
}

TEST(http_route_of_embeddings) {
  std::string decoded;
  Route route;
  EXPECT(match_route(post("/v1/embeddings"), decoded, route) == nullptr);
  EXPECT_EQ(static_cast<int>(route.kind), static_cast<int>(RouteKind::kEmbeddings));
}

TEST(http_route_of_everything_else) {
  const char* const paths[] = {
      "",
      "/",
      "*",
      "/v1/embeddings/",
      "/v1/embedding%73",
      "/v1/models",
      "/v2/models/m/infer/",
      "/v2/models//infer",
      "/v2/models/m//infer",
      "/v2/models/infer",
      "/v2/models/m/versions/infer",
      "/v2/models/m/versions//infer",
      "/v2/models/m/versions/1/2/infer",
      "/v2/models/m/infer%20",
      "/v2/models/m/inf%65r",
      "/v2/models/m/version%73/1/infer",
      "/v2/model%73/m/infer",
      "/v2/models/m/versions/1",
      "/v2/models/m/ready",
      "/v2/models/a/b/infer",
      "//v2/models/m/infer",
      "/V2/models/m/infer",
      "/v2/models/m%2Finfer",
  };
  for (const char* const path : paths) {
    std::string decoded;
    Route route;
    EXPECT(match_route(post(path), decoded, route) == nullptr);
    if (!EXPECT_EQ(static_cast<int>(route.kind), static_cast<int>(RouteKind::kOther))) {
      testing::note(path);
    }
  }
  for (const HttpMethod method :
       {HttpMethod::kGet, HttpMethod::kHead, HttpMethod::kOptions, HttpMethod::kOther}) {
    HttpHead head = post("/v2/models/m/infer");
    head.method = method;
    std::string decoded;
    Route route;
    EXPECT(match_route(head, decoded, route) == nullptr);
    EXPECT_EQ(static_cast<int>(route.kind), static_cast<int>(RouteKind::kOther));
  }
  HttpHead head = post("/v2/models/m/infer");
  head.has_query = true;
  std::string decoded;
  Route route;
  EXPECT(match_route(head, decoded, route) == nullptr);
  EXPECT_EQ(static_cast<int>(route.kind), static_cast<int>(RouteKind::kOther));
}

TEST(http_route_refuses_bad_names) {
  const std::string long_name(256, 'n');
  const std::string names[] = {".",
                               "..",
                               "%2e",
                               "%2E.",
                               "a%2Fb",
                               "a%2fb",
                               "a%5Cb",
                               "a\\b",
                               "%00",
                               "a%00",
                               "%0a",
                               "%1F",
                               "%7f",
                               "%",
                               "a%4",
                               "a%4g",
                               "a%g4",
                               "%%41",
                               "%80",
                               "%C3",
                               "%C3%28",
                               "%C0%AF",
                               "%E0%80%AF",
                               "%ED%A0%80",
                               "%F4%90%80%80",
                               "%F8%88%80%80%80",
                               "%E2%82",
                               "%FF",
                               long_name};
  for (const std::string& name : names) {
    std::string decoded;
    Route route;
    const std::string path = "/v2/models/" + name + "/infer";
    ProblemPtr problem = match_route(post(path), decoded, route);
    EXPECT_EQ(static_cast<int>(route.kind), static_cast<int>(RouteKind::kInfer));
    if (EXPECT(problem != nullptr)) {
      EXPECT_EQ(problem_status(problem->kind).http, 404);
      const std::string shown = name.size() > 255 ? name.substr(0, 64) + "…" : name;
      EXPECT_EQ(problem->message, "there is no model '" + shown + "'");
      EXPECT_EQ(problem->model.value_or(""), shown);
    } else {
      testing::note(name);
    }
    const std::string versioned = "/v2/models/m/versions/" + name + "/infer";
    problem = match_route(post(versioned), decoded, route);
    if (EXPECT(problem != nullptr)) {
      EXPECT_EQ(problem_status(problem->kind).http, 404);
      EXPECT_EQ(problem->model.value_or(""), "m");
      EXPECT_EQ(problem->version.value_or(""), name.substr(0, 64));
    }
  }
}

}  // namespace pelton
