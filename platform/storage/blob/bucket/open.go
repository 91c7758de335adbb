package bucket

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/googleapis/gax-go/v2"
	gcaws "gocloud.dev/aws"
	gocloud "gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcp"
	"google.golang.org/api/option"

	"github.com/weirstream/weir/platform/storage/blob"
)

// OpenS3 opens s3://BUCKET/PREFIX. Of the query it knows region, endpoint,
// s3ForcePathStyle, and those of gocloud.dev/aws (profile, role, anonymous, …).
// Credentials come from the environment, as for every program that uses S3.
func OpenS3(ctx context.Context, u *url.URL, limits Limits) (*Store, error) {
	limits = limits.normalize()
	q := u.Query()
	pathStyle, err := flag(q, "s3ForcePathStyle")
	if err != nil {
		return nil, err
	}
	endpoint := q.Get("endpoint")
	q.Del("endpoint")
	if endpoint != "" && q.Get("region") == "" && os.Getenv("AWS_REGION") == "" {
		q.Set("region", "us-east-1") // signatures need one; what is not Amazon's takes any
	}
	config, err := gcaws.V2ConfigFromURLParams(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", where(u), err)
	}
	if config.Region == "" {
		return nil, fmt.Errorf("open %s: its region is not known: add ?region=NAME, or set AWS_REGION", where(u))
	}
	config.HTTPClient = limits.client()
	config.Retryer = func() aws.Retryer {
		standard := retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = limits.Attempts, maxBackoff
			o.Backoff = retry.BackoffDelayerFunc(limits.delay)
		})
		return retry.AddWithErrorCodes(standard, "ConditionalRequestConflict") // a write beside it; the answer of the next try is clear
	}
	client := s3.NewFromConfig(config, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		o.DisableLogOutputChecksumValidationSkipped = true // of objects in parts, for which the caller's own checksums are
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	b, err := s3blob.OpenBucket(ctx, client, u.Host, &s3blob.Options{RequestChecksumCalculation: config.RequestChecksumCalculation})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", where(u), err)
	}
	remove := func(ctx context.Context, key string) error {
		_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(u.Host), Key: aws.String(key)})
		return err
	}
	return open(u, b, limits, cloud{remove: remove, access: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"})
}

// OpenGCS opens gs://BUCKET/PREFIX. Of the query it knows anonymous and endpoint.
// Credentials are Google's application default ones.
func OpenGCS(ctx context.Context, u *url.URL, limits Limits) (*Store, error) {
	limits = limits.normalize()
	q := u.Query()
	anonymous, err := flag(q, "anonymous")
	if err != nil {
		return nil, err
	}
	endpoint := q.Get("endpoint")
	q.Del("endpoint")
	if err := unknown(u, q, "anonymous, endpoint"); err != nil {
		return nil, err
	}
	const access = "set GOOGLE_APPLICATION_CREDENTIALS to a key's file, or run gcloud auth application-default login, or give the machine a service account"
	base := limits.client()
	http := gcp.NewAnonymousHTTPClient(base.Transport)
	if !anonymous {
		credentials, err := gcp.DefaultCredentials(ctx)
		if err != nil {
			return nil, fmt.Errorf("open %s: no credentials: %w: %s", where(u), err, access)
		}
		if http, err = gcp.NewHTTPClient(base.Transport, gcp.CredentialsTokenSource(credentials)); err != nil {
			return nil, fmt.Errorf("open %s: %w", where(u), err)
		}
	}
	options := []option.ClientOption{option.WithHTTPClient(&http.Client)}
	if endpoint != "" {
		options = append(options, option.WithEndpoint(endpoint))
	}
	client, err := storage.NewClient(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", where(u), err)
	}
	client.SetRetry(storage.WithMaxAttempts(limits.Attempts), storage.WithBackoff(gax.Backoff{Initial: limits.Backoff, Max: maxBackoff, Multiplier: 2}))
	b, err := gcsblob.OpenBucket(ctx, nil, u.Host, &gcsblob.Options{Client: client})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", where(u), err)
	}
	return open(u, b, limits, cloud{access: access})
}

// OpenAzure opens azblob://CONTAINER/PREFIX. Of the query it knows
// storage_account, domain, protocol and localemu. Credentials are
// AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN,
// AZURE_STORAGE_CONNECTION_STRING, or Azure's default ones.
func OpenAzure(ctx context.Context, u *url.URL, limits Limits) (*Store, error) {
	limits = limits.normalize()
	options := azureblob.NewDefaultServiceURLOptions()
	q := u.Query()
	emulator, err := flag(q, "localemu")
	if err != nil {
		return nil, err
	}
	options.IsLocalEmulator = options.IsLocalEmulator || emulator
	for key, to := range map[string]*string{"storage_account": &options.AccountName, "domain": &options.StorageDomain, "protocol": &options.Protocol} {
		if v := q.Get(key); v != "" {
			*to = v
		}
		q.Del(key)
	}
	if err := unknown(u, q, "storage_account, domain, protocol, localemu"); err != nil {
		return nil, err
	}
	service, err := azureblob.NewServiceURL(options)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: add ?storage_account=NAME, or set AZURE_STORAGE_ACCOUNT", where(u), err)
	}
	client, err := azureClient(service, options.AccountName, u.Host, limits)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", where(u), err)
	}
	b, err := azureblob.OpenBucket(ctx, client, nil)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", where(u), err)
	}
	return open(u, b, limits, cloud{access: "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING, or give the machine an identity"})
}

// azureClient chooses among the ways to be known to Azure, as its own tools do.
func azureClient(service azureblob.ServiceURL, account, name string, limits Limits) (*container.Client, error) {
	options := &container.ClientOptions{}
	options.Transport = limits.client()
	options.Retry = policy.RetryOptions{MaxRetries: int32(limits.Attempts - 1), RetryDelay: limits.Backoff, MaxRetryDelay: maxBackoff}
	if connection := os.Getenv("AZURE_STORAGE_CONNECTION_STRING"); connection != "" {
		return container.NewClientFromConnectionString(connection, name, options)
	}
	address, err := url.Parse(string(service))
	if err != nil {
		return nil, err
	}
	target := address.JoinPath(name).String() // a SAS token stays in the query
	if key := os.Getenv("AZURE_STORAGE_KEY"); key != "" {
		credential, err := container.NewSharedKeyCredential(account, key)
		if err != nil {
			return nil, err
		}
		return container.NewClientWithSharedKeyCredential(target, credential, options)
	}
	if os.Getenv("AZURE_STORAGE_SAS_TOKEN") != "" {
		return container.NewClientWithNoCredential(target, options)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return container.NewClient(target, credential, options)
}

// open makes the store of a bucket.
func open(u *url.URL, b *gocloud.Bucket, limits Limits, c cloud) (*Store, error) {
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		if err := blob.CheckName(prefix); err != nil {
			return nil, fmt.Errorf("open %s: its prefix: %w", where(u), err)
		}
		prefix += "/"
	}
	c.where = where(u)
	return &Store{bucket: b, prefix: prefix, limits: limits, cloud: c}, nil
}

// where is a URL without its query, which may hold what is nobody's business.
func where(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// flag takes a boolean out of a query.
func flag(q url.Values, name string) (bool, error) {
	v := q.Get(name)
	q.Del(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%s=%s: write true or false", name, v)
	}
	return b, nil
}

func unknown(u *url.URL, q url.Values, known string) error {
	for name := range q {
		return fmt.Errorf("open %s: unknown parameter %q; known are %s", where(u), name, known)
	}
	return nil
}
